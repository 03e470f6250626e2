import { setTimeout as sleep } from 'node:timers/promises'
import { residentBytes } from './process.ts'
import { absolute, type Row } from './row.ts'
import { openSse } from './sse-client.ts'
import { type Bench, startApi } from './stack.ts'

const CLIENTS = 1_000
const SESSIONS = 100
const SETTLE_MS = 5_000
const MIB = 1024 * 1024

const createSession = async (url: string, n: number): Promise<string> => {
  const id = `idle-${n}`
  const response = await fetch(`${url}/api/agent/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ session_id: id, workspace_id: id, framework: 'static', prompt: 'wait' }),
  })
  if (response.status !== 202) throw new Error(`generate answered ${response.status}`)
  await response.body?.cancel()
  return id
}

/** Resident memory of the API at rest, and what 1 000 clients that follow 100 queued runs add to it. */
export const benchIdleClients = async (bench: Bench): Promise<Row[]> => {
  // The first start fills the compile cache.
  await (await startApi(bench, 'bench_idle'))[Symbol.asyncDispose]()
  await using api = await startApi(bench, 'bench_idle')
  await sleep(SETTLE_MS)
  const rest = await residentBytes(api.api.pid)
  const sessions = await Promise.all(Array.from({ length: SESSIONS }, (_, n) => createSession(api.url, n)))
  const stop = new AbortController()
  const follow = async (n: number) => {
    const url = `${api.url}/api/agent/sessions/${sessions[n % SESSIONS]}/events`
    const client = openSse(url, { signal: stop.signal })
    await client.next()
    return client
  }
  // A first hundred pays for what is paid once (code, pools); the growth is taken from there on.
  await Promise.all(Array.from({ length: 100 }, (_, n) => follow(n)))
  await sleep(SETTLE_MS)
  const before = await residentBytes(api.api.pid)
  for (let n = 0; n < CLIENTS; n += 50) await Promise.all(Array.from({ length: 50 }, (_, i) => follow(n + i)))
  await sleep(SETTLE_MS)
  const after = await residentBytes(api.api.pid)
  stop.abort()
  return [
    absolute('API process at rest, resident', rest / MIB, 'MiB', 150),
    absolute(`idle SSE client at ${CLIENTS}, resident each`, (after - before) / CLIENTS / 1024, 'KiB', 40),
  ]
}
