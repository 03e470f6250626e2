import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import type { Run } from '#contracts/run.ts'
import { PUBLIC_EGRESS } from '#scheduler/egress-guard.ts'
import { openGateway } from '#scheduler/gateway.ts'
import { newToken, tokenHash } from '#scheduler/run-token.ts'
import { openMongoStore } from '#store/mongodb.ts'
import type { OpenStore } from '#store/store.ts'
import { absolute, quantile, type Row } from './row.ts'
import type { WriterJob } from './sink-writer.ts'
import { openSse } from './sse-client.ts'
import { type Bench, type Stack, startApi } from './stack.ts'

const EVENTS = 600
const WARM_UP = 100
const EVERY_MS = 20

/** Milliseconds from the sink to the client, one figure per event. */
const follow = async (api: Stack, run: Run, job: WriterJob): Promise<number[]> => {
  const delays: number[] = []
  const stop = new AbortController()
  const url = `${api.url}/api/agent/sessions/${run.session_id}/events?run_id=${run.run_id}`
  const stream = openSse(url, { signal: stop.signal })
  await stream.next()
  const writer = spawn(process.execPath, [join(import.meta.dirname, 'sink-writer.ts'), JSON.stringify(job)], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  try {
    for await (const frame of stream) {
      if (frame.event !== 'log') continue
      const sent = BigInt(JSON.parse(frame.data).data.message)
      delays.push(Number(frame.at - sent) / 1e6)
      if (delays.length === EVENTS) break
    }
  } finally {
    stop.abort()
    writer.kill()
  }
  return delays.slice(WARM_UP)
}

/** A run that is accepted and that nobody takes up: the writer stands for its runner. */
const acceptedRun = async (api: Stack, store: OpenStore): Promise<Run> => {
  const id = `lat-${randomUUID().slice(0, 8)}`
  const response = await fetch(`${api.url}/api/agent/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ session_id: id, workspace_id: id, framework: 'static', prompt: 'bench' }),
  })
  const { run_id } = (await response.json()) as { run_id: string }
  const run = await store.runs.get(run_id)
  if (run === undefined) throw new Error(`the run of ${id} was not stored`)
  return run
}

/** Event handed to the runner's sink → received by an SSE client of another process, on MongoDB, stored before shown. */
export const benchEventLatency = async (bench: Bench): Promise<Row[]> => {
  await using stack = new AsyncDisposableStack()
  const api = stack.use(await startApi(bench, 'bench_latency'))
  const log = pino({ level: 'warn' }, pino.destination(2))
  const store = stack.use(await openMongoStore({ url: bench.mongo.url, db: api.db, log }))
  const dir = await mkdtemp(join(tmpdir(), 'mgx-bench-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const upstream = { baseUrl: `http://127.0.0.1:${bench.modelPort}/v1`, apiKey: 'bench' }
  const gateway = stack.use(await openGateway({ events: store.events, upstream, egress: PUBLIC_EGRESS, log }))

  const token = newToken()
  const served: Run = { ...(await acceptedRun(api, store)), token_hash: tokenHash(token) }
  const socket = join(dir, 'gw.sock')
  stack.use(await gateway.serve(served, socket))
  const pace = { events: EVENTS, everyMs: EVERY_MS }
  const viaGateway = await follow(api, served, {
    ...pace,
    run: served,
    channel: { kind: 'gateway', url: `unix:${socket}`, token },
  })
  const run = await acceptedRun(api, store)
  const direct = await follow(api, run, {
    ...pace,
    run,
    channel: { kind: 'direct', url: bench.mongo.url, db: api.db },
  })
  return [
    ...[viaGateway, direct].flatMap((delays, n) => {
      const channel = n === 0 ? 'gateway' : 'direct'
      return [
        absolute(`event → client on MongoDB (${channel}), p50`, quantile(delays, 0.5), 'ms', 6),
        absolute(`event → client on MongoDB (${channel}), p99`, quantile(delays, 0.99), 'ms', 50),
      ]
    }),
  ]
}
