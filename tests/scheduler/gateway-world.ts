import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { pino } from 'pino'
import { eventIds } from '#contracts/events.ts'
import { GATEWAY_UNAVAILABLE_HEADER } from '#contracts/gateway-wire.ts'
import { DEFAULT_TENANT, newRunId } from '#contracts/ids.ts'
import type { Run } from '#contracts/run.ts'
import { type EgressConfig, PUBLIC_EGRESS } from '#scheduler/egress-guard.ts'
import { type Gateway, openGateway, type SharedPort } from '#scheduler/gateway.ts'
import { newToken, tokenHash } from '#scheduler/run-token.ts'
import type { EventLog } from '#store/event-log.ts'
import type { RunStore } from '#store/run-store.ts'
import { openSqliteStore } from '#store/sqlite.ts'
import type { Store } from '#store/store.ts'
import { tempDir } from '../helpers.ts'

export const KEY = 'sk-upstream-key-1234'
const quiet = pino({ level: 'silent' })

type Seen = {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** A model API that a test answers by hand. */
export const openUpstream = async (t: TestContext, answer: (response: ServerResponse, seen: Seen) => unknown) => {
  const seen: Seen[] = []
  const closed: string[] = []
  const server = createServer(async (message, response) => {
    response.on('close', () => closed.push(response.writableFinished ? 'whole' : 'broken'))
    let body = ''
    try {
      for await (const part of message) body += String(part)
    } catch {
      closed.push('request broken')
      return
    }
    const one = { method: message.method ?? '', url: message.url ?? '', headers: message.headers, body }
    seen.push(one)
    await answer(response, one)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, seen, closed }
}

export type Client = { readonly socketPath?: string; readonly port?: number; readonly token: string }
export type Answer = Pick<IncomingMessage, 'headers' | 'trailers'> & { readonly status: number; readonly body: string }

/** Why the gateway did not serve, or no longer: at the end of an answer that had begun, else at its beginning. */
export const unavailableIn = ({ headers, trailers }: Answer): unknown =>
  trailers[GATEWAY_UNAVAILABLE_HEADER] ?? headers[GATEWAY_UNAVAILABLE_HEADER]

export const call = (
  client: Client,
  method: string,
  path: string,
  body?: unknown,
  headers: object = {},
): Promise<Answer> => {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const { token, ...address } = client
  const sent = request(
    {
      ...address,
      agent: false,
      host: '127.0.0.1',
      method,
      path,
      headers: { authorization: `Bearer ${token}`, ...headers },
    },
    (response) => {
      const read = async () => {
        let text = ''
        for await (const part of response) text += String(part)
        return { status: response.statusCode ?? 0, headers: response.headers, trailers: response.trailers, body: text }
      }
      read().then(resolve, reject)
    },
  )
  sent.on('error', reject)
  sent.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body))
  return promise
}

export const newRun = (token: string): Run => ({
  run_id: newRunId(),
  tenant_id: DEFAULT_TENANT,
  session_id: `s-${newRunId().slice(-8)}`,
  workspace_id: 'w',
  framework: 'static',
  prompt: 'p',
  options: {},
  v: 1,
  state: 'running',
  attempt: 1,
  lock: true,
  created_at: new Date(),
  queue_deadline_at: new Date(),
  turn_at: new Date(),
  container_gone: false,
  restarts: 0,
  token_hash: tokenHash(token),
})

/** A run as a worker has left it in the store that has taken it up. */
export const startedRun = async (runs: RunStore, token: string): Promise<Run> => {
  const { run_id, tenant_id, session_id, framework, prompt, options, created_at, ...rest } = newRun(token)
  const workspace_id = `w-${session_id}`
  const { queue_deadline_at } = rest
  const born = {
    run_id,
    tenant_id,
    session_id,
    workspace_id,
    framework,
    prompt,
    options,
    created_at,
    queue_deadline_at,
  }
  await runs.accept(born)
  const patch = { state: 'running', attempt: 1, container_gone: false, token_hash: tokenHash(token) } as const
  const run = await runs.transition(run_id, { attempt: 0, from: ['queued'] }, patch)
  if (run === undefined) throw new Error('the run could not be started')
  return run
}

export const endRun = (runs: RunStore, { run_id }: Run) =>
  runs.transition(run_id, { attempt: 1, from: ['running'] }, { state: 'finished', lock: false, container_gone: true })

export const open = async (
  t: TestContext,
  options: {
    upstream?: string
    connectsOnly?: boolean
    egress?: EgressConfig
    tcp?: boolean
    /** A store that other gateways use as well. */
    store?: Store
    timings?: SharedPort['timings']
    runs?: (runs: RunStore) => Pick<RunStore, 'ofTokens'>
    events?: (log: EventLog) => EventLog
  } = {},
) => {
  const dir = await tempDir(t)
  const stack = new AsyncDisposableStack()
  t.after(() => stack.disposeAsync())
  const store = options.store ?? stack.use(await openSqliteStore({ file: join(dir, 'store.db') }))
  const gateway: Gateway = stack.use(
    await openGateway({
      events: options.events?.(store.events) ?? store.events,
      ...(!options.connectsOnly && { upstream: { baseUrl: options.upstream ?? 'http://127.0.0.1:1/v1', apiKey: KEY } }),
      egress: options.egress ?? PUBLIC_EGRESS,
      ...(options.tcp && {
        tcp: {
          host: '127.0.0.1',
          port: 0,
          runs: options.runs?.(store.runs) ?? store.runs,
          ...(options.timings && { timings: options.timings }),
        },
      }),
      log: quiet,
    }),
  )
  let sockets = 0
  const serve = async (socketPath = join(dir, `${sockets++}.sock`)) => {
    const token = newToken()
    const run = options.tcp ? await startedRun(store.runs, token) : newRun(token)
    const serving = await gateway.serve(run, options.tcp ? undefined : socketPath)
    const client: Client = { token, ...(options.tcp ? { port: gateway.tcpPort ?? 0 } : { socketPath }) }
    return { run, token, serving, client, socketPath }
  }
  return { dir, store, events: store.events, gateway, serve }
}

export const sent = (run: Run, n = 1, extra: object = {}) => ({
  _id: eventIds.runner(run.run_id, n),
  event_type: 'log',
  timestamp: new Date().toISOString(),
  data: { level: 'info', message: `${n}` },
  ...extra,
})
