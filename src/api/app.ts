import { randomUUID } from 'node:crypto'
import cors from '@fastify/cors'
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from '@fastify/type-provider-zod'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import { MgxError } from '#contracts/errors.ts'
import type { RunStore } from '#store/run-store.ts'
import type { ApiConfig, ApiDeps, RouteDeps } from './deps.ts'
import { createDoor } from './door.ts'
import { BODY_MAX_BYTES, badHttpAnswer, handleError } from './errors.ts'
import { createHints } from './hints.ts'
import { acceptJsonOnly } from './json-body.ts'
import { createLine, type Line } from './line.ts'
import { takeSnapshot } from './line-snapshot.ts'
import { createLiveResponses } from './live.ts'
import { measureAnswers } from './meter.ts'
import { answerUnknownRoutes } from './not-found.ts'
import { registerOpenApi } from './openapi.ts'
import { guardQueue, guardStore } from './outage.ts'
import { createPace, type Pace } from './pace.ts'
import { attestationRoutes } from './routes/attestation.ts'
import { eventRoutes } from './routes/events.ts'
import { generateRoutes } from './routes/generate.ts'
import { healthRoutes } from './routes/health.ts'
import { logRoutes } from './routes/logs.ts'
import { runRoutes } from './routes/runs.ts'
import { sessionRoutes } from './routes/sessions.ts'
import { stopRoutes } from './routes/stop.ts'
import { registerSse } from './sse.ts'
import { createEventFrames } from './watch.ts'

const HANDLER_TIMEOUT_MS = 15_000

/** How long a client may take to send its request, milliseconds. */
const REQUEST_TIMEOUT_MS = 30_000

/** Longer parts of a path are answered by the router; an id has 63 characters at most, and deserves its own error. */
const MAX_PARAM_LENGTH = 1_000

const createServer = ({ log, config }: ApiDeps): FastifyInstance =>
  Fastify({
    loggerInstance: log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    return503OnClosing: false,
    genReqId: () => randomUUID(),
    bodyLimit: BODY_MAX_BYTES,
    handlerTimeout: config.handlerTimeoutMs ?? HANDLER_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    frameworkErrors: (error, request, reply) => {
      handleError(error, request, reply)
    },
    clientErrorHandler: (error, socket) => {
      if (error.code === 'ECONNRESET' || socket.destroyed) return
      if (socket.writable) socket.write(badHttpAnswer(error.code === 'HPE_HEADER_OVERFLOW'))
      socket.destroy(error)
    },
  })

/** One line for each answer, with the route's pattern rather than the path, and its id in a header for support. */
const logAnswers = (app: FastifyInstance): void => {
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
  })
  app.addHook('onResponse', async (request, reply) => {
    const { method, routeOptions } = request
    const ms = Math.round(reply.elapsedTime)
    request.log.info({ method, route: routeOptions.url, status: reply.statusCode, ms }, 'answered')
  })
}

/** Requests on connections that are still open while the server closes. Fastify's own answer has another shape. */
const refuseWhileClosing = (app: FastifyInstance): void => {
  let closing = false
  app.addHook('preClose', async () => {
    closing = true
  })
  app.addHook('onRequest', async (_request, reply) => {
    if (!closing) return
    reply.header('connection', 'close')
    throw new MgxError('UNAVAILABLE', 'The API is shutting down.', 'shutting down')
  })
}

const allowOrigins = async (app: FastifyInstance, origins: readonly string[]): Promise<void> => {
  if (origins.length === 0) return
  await app.register(cors, {
    origin: origins.includes('*') ? '*' : [...origins],
    methods: ['GET', 'HEAD', 'POST'],
    allowedHeaders: ['Accept', 'Authorization', 'Content-Type', 'Idempotency-Key', 'Last-Event-ID'],
    exposedHeaders: ['Location', 'Retry-After', 'X-Request-Id', 'Idempotency-Key', 'Last-Event-ID'],
    maxAge: 600,
  })
}

const ROUTES = [
  generateRoutes,
  sessionRoutes,
  runRoutes,
  eventRoutes,
  logRoutes,
  attestationRoutes,
  stopRoutes,
  healthRoutes,
]

/** One look at the waiting line for all who want to know their place in it. */
const openLine = (
  app: FastifyInstance,
  runs: RunStore,
  pace: Pace,
  { maxRunningPerTenant, lineMs }: ApiConfig,
): Line => {
  const line = createLine({
    snapshot: () => takeSnapshot(runs.line(), pace.measure, maxRunningPerTenant),
    onError: (err) => app.log.warn({ err }, 'the waiting line could not be read: trying again'),
    ...(lineMs !== undefined && { everyMs: lineMs }),
  })
  app.addHook('onClose', async () => line[Symbol.dispose]())
  return line
}

/** The API as a Fastify app that does not listen: `inject` and `listen` are the caller's. It closes nothing it was given. */
export const buildApp = async (deps: ApiDeps): Promise<FastifyInstance> => {
  const app = createServer(deps)
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  app.setErrorHandler(handleError)
  acceptJsonOnly(app)
  logAnswers(app)
  refuseWhileClosing(app)
  answerUnknownRoutes(app)
  await allowOrigins(app, deps.config.corsOrigins)

  const live = createLiveResponses(app)
  if (deps.meter) measureAnswers(app, live, deps.meter)
  const store = guardStore(deps.store)
  const queue = guardQueue(deps.queue)
  const pace = createPace(store.runs)
  const hints = createHints(queue, app.log)
  app.addHook('onClose', async () => hints[Symbol.dispose]())
  const routeDeps: RouteDeps = {
    store,
    queue,
    hints,
    follower: deps.follower,
    config: deps.config,
    live,
    frames: createEventFrames(),
    line: openLine(app, store.runs, pace, deps.config),
    door: createDoor({ runs: store.runs, limits: deps.config, pace, log: app.log }),
    sse: await registerSse(app, live, deps.config),
    owner: `api-${randomUUID()}`,
  }
  await registerOpenApi(app, deps.config)
  const routes = app.withTypeProvider<ZodTypeProvider>()
  for (const add of ROUTES) add(routes, routeDeps)
  return app
}
