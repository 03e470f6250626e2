import { timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Logger } from 'pino'
import { MgxError } from '#contracts/errors.ts'
import { EGRESS_MODEL_HEADER, GATEWAY_EVENTS_PATH, GATEWAY_MODEL_PATH } from '#contracts/gateway-wire.ts'
import type { Run } from '#contracts/run.ts'
import type { EventLog } from '#store/event-log.ts'
import { type EgressRun, openTunnel, sendNotServed } from './egress.ts'
import { createEgressGuard, type EgressConfig, type EgressGuard } from './egress-guard.ts'
import { createModelGuard } from './egress-model.ts'
import { createRefusals } from './egress-refusals.ts'
import { appendEvents, listEvents } from './gateway-events.ts'
import { drain, refuse, sendJson, sendUnavailable } from './gateway-http.ts'
import { type GatewayListener, listenTcp, listenUnix } from './gateway-listen.ts'
import { createModelProxy, type ModelProxy, sendBroken, type Upstream } from './gateway-proxy.ts'
import { runPolicy } from './run-egress.ts'
import { tokenHash } from './run-token.ts'

export type GatewayDeps = {
  readonly events: EventLog
  /** Absent in the direct channel, where runners need connections only: then events and model requests are refused. */
  readonly upstream?: Upstream
  readonly egress: EgressConfig
  /** One port for all runs, told apart by their tokens; port 0 = any free one. */
  readonly tcp?: { readonly host: string; readonly port: number }
  readonly log: Pick<Logger, 'warn'>
}

/**
 * The runner's way out in the `gateway` channel (contracts/gateway.ts has the protocol): it takes the runner's events, and
 * passes its model requests on with the key that the container never sees, and its commands' connections where they may go.
 * Disposing it ends whatever it still serves.
 */
export type Gateway = AsyncDisposable & {
  /**
   * Serves one run, at a unix socket of its own or on the shared TCP port, until the result is disposed. Who may come is whoever
   * knows the token of `run.token_hash`. Takes the place of an earlier owner that served the same path.
   */
  serve(run: Run, socketPath?: string): Promise<AsyncDisposable>
  readonly tcpPort?: number
}

/** A run that is being served; `signal` aborts when it no longer is. */
type Served = EgressRun & {
  readonly run: Run
  readonly hash: string
  /** The runner's own connections to the model, apart: commands must not use them up. */
  readonly modelTunnels: Set<Duplex>
}

type Find = (hash: string) => Served | undefined

const bearer = (header: string | undefined): string => /^Bearer (.+)$/i.exec(header ?? '')?.[1] ?? ''

const sameHash = (a: string, b: string): boolean => {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}

type Parts = Pick<GatewayDeps, 'events' | 'log' | 'egress'> & {
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
  { run }: Served,
  error: unknown,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> => {
  if (error instanceof MgxError && error.code !== 'UNAVAILABLE') {
    await drain(request)
    sendJson(response, error.status, error.toBody())
  } else if (request.url?.startsWith(GATEWAY_MODEL_PATH)) sendBroken(response, error)
  else {
    log.warn({ err: error, run_id: run.run_id }, 'the gateway could not reach the event log; the runner asks again')
    sendUnavailable(response, 'UNAVAILABLE', 'the event log does not answer')
  }
}

/** Who comes with this token. A runner whose worker restarted comes before its run is served again: it is told to ask later. */
const servedBy = (find: Find, header: string | undefined): Served | undefined => {
  const hash = tokenHash(bearer(header))
  const served = find(hash)
  return served !== undefined && sameHash(served.hash, hash) ? served : undefined
}

const createListener = (parts: Parts, find: Find): GatewayListener => ({
  request: (request, response) => {
    const served = servedBy(find, request.headers.authorization)
    if (served === undefined) {
      void drain(request).then(() => sendUnavailable(response, 'UNAUTHORIZED', 'no run of this token is served here'))
      return
    }
    route(parts, served, request, response).catch((error: unknown) =>
      answerError(parts, served, error, request, response).catch(() => void response.destroy()),
    )
  },
  connect: (request, client, head) => {
    client.on('error', () => client.destroy())
    const served = servedBy(find, request.headers['proxy-authorization'])
    if (served === undefined) return sendNotServed(client)
    const isModel = request.headers[EGRESS_MODEL_HEADER] !== undefined
    const [guard, way] = isModel
      ? [parts.modelGuard, { ...served, tunnels: served.modelTunnels }]
      : [parts.guard, served]
    openTunnel(guard, way, request, client, head).catch(() => void client.destroy())
  },
})

/** What is served now, so that it goes when the gateway goes. */
type Servings = { readonly byHash: Map<string, Served>; readonly open: Set<AsyncDisposable> }

const newServed = ({ events, egress }: Parts, run: Run, hash: string): { served: Served; end: () => void } => {
  const stop = new AbortController()
  const { signal } = stop
  const [tunnels, modelTunnels] = [new Set<Duplex>(), new Set<Duplex>()]
  const served = {
    run,
    hash,
    signal,
    tunnels,
    modelTunnels,
    policy: runPolicy(egress.policy, run),
    refusals: createRefusals(events, run, signal),
  }
  const end = () => {
    stop.abort()
    for (const tunnel of [...tunnels, ...modelTunnels]) tunnel.destroy()
  }
  return { served, end }
}

const createServe =
  (parts: Parts, { byHash, open }: Servings, hasTcp: boolean): Gateway['serve'] =>
  async (run, socketPath) => {
    if (run.token_hash === undefined) throw new Error(`run ${run.run_id} has no gateway token`)
    if (socketPath === undefined && !hasTcp)
      throw new Error('without a TCP port the gateway needs the path of a socket')
    await using stack = new AsyncDisposableStack()
    const { served, end } = newServed(parts, run, run.token_hash)
    if (socketPath === undefined) {
      byHash.set(served.hash, served)
      stack.defer(() => void (byHash.get(served.hash) === served && byHash.delete(served.hash)))
    } else
      stack.use(
        await listenUnix(
          createListener(parts, () => served),
          socketPath,
        ),
      )
    // Before the listener closes, which waits for its connections.
    stack.defer(end)
    const kept = stack.move()
    kept.defer(() => void open.delete(kept))
    open.add(kept)
    return kept
  }

/** Opens what all runs share; rejects when the TCP port cannot be had. */
export const openGateway = async ({ events, upstream, egress, tcp, log }: GatewayDeps): Promise<Gateway> => {
  await using stack = new AsyncDisposableStack()
  const proxy = upstream && createModelProxy(upstream)
  if (proxy) stack.defer(() => proxy.close())
  const guards = { guard: createEgressGuard(egress), modelGuard: createModelGuard(egress.model) }
  const parts: Parts = { events, log, egress, proxy, ...guards }
  const servings: Servings = { byHash: new Map(), open: new Set() }
  const find: Find = (hash) => servings.byHash.get(hash)
  const port = tcp && stack.use(await listenTcp(createListener(parts, find), tcp.host, tcp.port)).port
  stack.defer(async () => void (await Promise.all([...servings.open].map((one) => one[Symbol.asyncDispose]()))))
  const kept = stack.move()
  return {
    serve: createServe(parts, servings, port !== undefined),
    ...(port === undefined ? {} : { tcpPort: port }),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}
