import { timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import { MgxError } from '#contracts/errors.ts'
import { GATEWAY_EVENTS_PATH, GATEWAY_MODEL_PATH } from '#contracts/gateway-wire.ts'
import type { Run } from '#contracts/run.ts'
import type { EventLog } from '#store/event-log.ts'
import { appendEvents, listEvents } from './gateway-events.ts'
import { drain, refuse, sendJson, sendUnavailable } from './gateway-http.ts'
import { listenTcp, listenUnix } from './gateway-listen.ts'
import { createModelProxy, type ModelProxy, sendBroken, type Upstream } from './gateway-proxy.ts'
import { tokenHash } from './run-token.ts'

export type GatewayDeps = {
  readonly events: EventLog
  readonly upstream: Upstream
  /** One port for all runs, told apart by their tokens; port 0 = any free one. */
  readonly tcp?: { readonly host: string; readonly port: number }
  readonly log: Pick<Logger, 'warn'>
}

/**
 * The runner's way out in the `gateway` channel (contracts/gateway.ts has the protocol): it takes the runner's events, and
 * passes its model requests on with the key that the container never sees. Disposing it ends whatever it still serves.
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
type Served = { readonly run: Run; readonly hash: string; readonly signal: AbortSignal }

type Find = (hash: string) => Served | undefined

const bearer = ({ headers }: IncomingMessage): string => /^Bearer (.+)$/i.exec(headers.authorization ?? '')?.[1] ?? ''

const sameHash = (a: string, b: string): boolean => {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}

type Parts = Pick<GatewayDeps, 'events' | 'log'> & { readonly proxy: ModelProxy }

const route = async (parts: Parts, served: Served, request: IncomingMessage, response: ServerResponse) => {
  const { method, url: target = '/' } = request
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

const createListener =
  (parts: Parts, find: Find): RequestListener =>
  (request, response) => {
    const hash = tokenHash(bearer(request))
    const served = find(hash)
    // A runner whose worker restarted comes before its run is served again: it is told to ask later, not that it is wrong.
    if (served === undefined || !sameHash(served.hash, hash)) {
      void drain(request).then(() => sendUnavailable(response, 'UNAUTHORIZED', 'no run of this token is served here'))
      return
    }
    route(parts, served, request, response).catch((error: unknown) =>
      answerError(parts, served, error, request, response).catch(() => void response.destroy()),
    )
  }

/** What is served now, so that it goes when the gateway goes. */
type Servings = { readonly byHash: Map<string, Served>; readonly open: Set<AsyncDisposable> }

const createServe =
  (parts: Parts, { byHash, open }: Servings, hasTcp: boolean): Gateway['serve'] =>
  async (run, socketPath) => {
    if (run.token_hash === undefined) throw new Error(`run ${run.run_id} has no gateway token`)
    if (socketPath === undefined && !hasTcp)
      throw new Error('without a TCP port the gateway needs the path of a socket')
    const stop = new AbortController()
    const served: Served = { run, hash: run.token_hash, signal: stop.signal }
    await using stack = new AsyncDisposableStack()
    stack.defer(() => stop.abort())
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
    const kept = stack.move()
    kept.defer(() => void open.delete(kept))
    open.add(kept)
    return kept
  }

/** Opens what all runs share; rejects when the TCP port cannot be had. */
export const openGateway = async ({ events, upstream, tcp, log }: GatewayDeps): Promise<Gateway> => {
  await using stack = new AsyncDisposableStack()
  const parts: Parts = { events, log, proxy: createModelProxy(upstream) }
  stack.defer(() => parts.proxy.close())
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
