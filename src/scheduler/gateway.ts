import { timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Logger } from 'pino'
import { MgxError } from '#contracts/errors.ts'
import { EGRESS_MODEL_HEADER, GATEWAY_EVENTS_PATH, GATEWAY_MODEL_PATH } from '#contracts/gateway-wire.ts'
import type { Run } from '#contracts/run.ts'
import type { EventLog } from '#store/event-log.ts'
import type { RunStore } from '#store/run-store.ts'
import { openTunnel, sendNotServed } from './egress.ts'
import { createEgressGuard, type EgressConfig, type EgressGuard } from './egress-guard.ts'
import { createModelGuard } from './egress-model.ts'
import { appendEvents, listEvents } from './gateway-events.ts'
import { drain, refuse, sendJson, sendUnavailable } from './gateway-http.ts'
import { type GatewayListener, listenTcp, listenUnix } from './gateway-listen.ts'
import { type GatewayMeter, measureAnswer } from './gateway-meter.ts'
import { createModelProxy, LEAVING, type ModelProxy, sendBroken, type Upstream } from './gateway-proxy.ts'
import { createGatewayRuns, type LookTimings, TokenUnclear } from './gateway-runs.ts'
import { newServed, type Served } from './gateway-served.ts'
import { isToken, tokenHash } from './run-token.ts'

export type SharedPort = {
  readonly host: string
  readonly port: number
  readonly runs: Pick<RunStore, 'ofTokens'>
  readonly timings?: Partial<LookTimings & { readonly drain: number }>
}

export type GatewayDeps = {
  readonly events: EventLog
  /** Absent in the direct channel, where runners need connections only: then events and model requests are refused. */
  readonly upstream?: Upstream
  readonly egress: EgressConfig
  /** One port for all runs, told apart by their tokens; port 0 = any free one. */
  readonly tcp?: SharedPort
  readonly log: Pick<Logger, 'warn'>
  readonly meter?: GatewayMeter
}

/**
 * The runner's way out in the `gateway` channel (contracts/gateway.ts has the protocol): it takes the runner's events, and
 * passes its model requests on with the key that the container never sees, and its commands' connections where they may go.
 * Disposing it ends whatever it still serves.
 */
export type Gateway = AsyncDisposable & {
  /**
   * Serves one run at a unix socket of its own until the result is disposed, and takes the place of an earlier owner that
   * served the same path. On the shared TCP port every live run is served without it, whoever owns it. Who may come is
   * whoever knows the token of `run.token_hash`.
   */
  serve(run: Run, socketPath?: string): Promise<AsyncDisposable>
  readonly tcpPort?: number
}

/**
 * How long a gateway that leaves waits for what is in hand, milliseconds: most answers of a model come to their end. With what
 * the worker does before it, less than the 30 s that Docker Compose and Kubernetes are told to wait.
 */
const DRAIN_MS = 10_000

type Find = (hash: string) => Promise<Served | undefined>

type Unserved = { readonly code: 'UNAUTHORIZED' | 'UNAVAILABLE'; readonly detail: string }

const NOBODYS: Unserved = { code: 'UNAUTHORIZED', detail: 'no run of this token is served here' }

const bearer = (header: string | undefined): string => /^Bearer (.+)$/i.exec(header ?? '')?.[1] ?? ''

const sameHash = (a: string, b: string): boolean => {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}

type Parts = Pick<GatewayDeps, 'events' | 'log' | 'egress' | 'meter'> & {
  readonly proxy: ModelProxy | undefined
  readonly guard: EgressGuard
  readonly modelGuard: EgressGuard
}

const route = async (parts: Parts, served: Served, request: IncomingMessage, response: ServerResponse) => {
  const { method, url: target = '/' } = request
  if (parts.proxy === undefined) throw refuse('NOT_FOUND', 'This gateway opens connections, and nothing else.')
  if (target.startsWith(`${GATEWAY_MODEL_PATH}/`)) return parts.proxy.pass(request, response, served.signal)
  const url = new URL(target, 'http://gateway')
  if (url.pathname !== GATEWAY_EVENTS_PATH) throw refuse('NOT_FOUND', 'The gateway has no such path.')
  if (method === 'POST') return appendEvents(parts.events, served.run, request, response)
  if (method === 'GET') return listEvents(parts.events, served.run, url, response)
  throw refuse('METHOD_NOT_ALLOWED', 'Events are appended with POST and listed with GET.')
}

const answerError = async (
  { log }: Parts,
  { run, signal }: Served,
  error: unknown,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> => {
  if (error instanceof MgxError && error.code !== 'UNAVAILABLE') {
    await drain(request)
    sendJson(response, error.status, error.toBody())
  } else if (request.url?.startsWith(GATEWAY_MODEL_PATH)) {
    if (signal.aborted && !response.headersSent) sendUnavailable(response, 'UNAVAILABLE', LEAVING)
    else sendBroken(response, error)
  } else {
    log.warn({ err: error, run_id: run.run_id }, 'the gateway could not reach the event log; the runner asks again')
    sendUnavailable(response, 'UNAVAILABLE', 'the event log does not answer')
  }
}

/** Who comes with this token. A runner may come before the store knows it, or answers: it is told to ask later. */
const servedBy = async (find: Find, header: string | undefined): Promise<Served | Unserved> => {
  const token = bearer(header)
  if (!isToken(token)) return NOBODYS
  const hash = tokenHash(token)
  try {
    const served = await find(hash)
    return served !== undefined && sameHash(served.hash, hash) ? served : NOBODYS
  } catch (error) {
    if (error instanceof TokenUnclear) return { code: 'UNAVAILABLE', detail: error.message }
    throw error
  }
}

const takeRequest = async (parts: Parts, find: Find, request: IncomingMessage, response: ServerResponse) => {
  const served = await servedBy(find, request.headers.authorization)
  if ('code' in served) {
    await drain(request)
    return sendUnavailable(response, served.code, served.detail)
  }
  await route(parts, served, request, response).catch((error: unknown) =>
    answerError(parts, served, error, request, response),
  )
}

const takeConnect = async (parts: Parts, find: Find, request: IncomingMessage, client: Duplex, head: Buffer) => {
  const served = await servedBy(find, request.headers['proxy-authorization'])
  if ('code' in served) return sendNotServed(client, served.detail)
  const isModel = request.headers[EGRESS_MODEL_HEADER] !== undefined
  const [guard, way] = isModel ? [parts.modelGuard, { ...served, tunnels: served.modelTunnels }] : [parts.guard, served]
  await openTunnel(guard, way, request, client, head)
}

const createListener = (parts: Parts, find: Find): GatewayListener => ({
  request: (request, response) => {
    if (parts.meter) measureAnswer(parts.meter, request, response)
    takeRequest(parts, find, request, response).catch(() => void response.destroy())
  },
  connect: (request, client, head) => {
    client.on('error', () => client.destroy())
    takeConnect(parts, find, request, client, head).catch(() => void client.destroy())
  },
})

/** By a socket of the run's own: nobody else's token is known there. Ends what it serves with its owner. */
const serveSocket = async (parts: Parts, run: Run, socketPath: string): Promise<AsyncDisposable> => {
  await using stack = new AsyncDisposableStack()
  const served = newServed(parts.events, parts.egress, run)
  stack.use(
    await listenUnix(
      createListener(parts, async () => served),
      socketPath,
    ),
  )
  // Before the listener closes, which waits for its connections.
  stack.defer(served.end)
  return stack.move()
}

/** The shared port, where every live run of the installation is served. Leaves as a rolling update wants it: see `DRAIN_MS`. */
const openShared = async (parts: Parts, { host, port, runs: store, timings = {} }: SharedPort) => {
  const runs = createGatewayRuns({
    runs: store,
    timings,
    open: (run) => newServed(parts.events, parts.egress, run),
    onError: (err) => parts.log.warn({ err }, 'the gateway could not look which runs are live; it looks again'),
  })
  await using stack = new AsyncDisposableStack()
  const listening = stack.use(await listenTcp(createListener(parts, runs.find), host, port))
  stack.use(runs)
  stack.defer(() => listening.drain(timings.drain ?? DRAIN_MS))
  const kept = stack.move()
  return { port: listening.port, serve: runs.serve, [Symbol.asyncDispose]: () => kept.disposeAsync() }
}

/** Opens what all runs share; rejects when the TCP port cannot be had. */
export const openGateway = async ({ events, upstream, egress, tcp, log, meter }: GatewayDeps): Promise<Gateway> => {
  await using stack = new AsyncDisposableStack()
  const proxy = upstream && createModelProxy(upstream)
  if (proxy) stack.defer(() => proxy.close())
  const guards = { guard: createEgressGuard(egress), modelGuard: createModelGuard(egress.model) }
  const parts: Parts = { events, log, egress, proxy, ...guards, ...(meter && { meter }) }
  const open = new Set<AsyncDisposable>()
  const shared = tcp && stack.use(await openShared(parts, tcp))
  stack.defer(async () => void (await Promise.all([...open].map((one) => one[Symbol.asyncDispose]()))))
  const kept = stack.move()
  return {
    serve: async (run, socketPath) => {
      if (socketPath === undefined) {
        if (shared === undefined) throw new Error('without a TCP port the gateway needs the path of a socket')
        return shared.serve(run)
      }
      const serving = new AsyncDisposableStack()
      serving.use(await serveSocket(parts, run, socketPath))
      serving.defer(() => void open.delete(serving))
      open.add(serving)
      return serving
    },
    ...(shared && { tcpPort: shared.port }),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}
