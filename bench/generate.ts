import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { freePort } from '../tests/helpers.ts'
import type { Findings } from './part.ts'
import { startNode, untilReady } from './process.ts'
import { median, relative } from './row.ts'
import { type Bench, startApi } from './stack.ts'

const CONNECTIONS = 32
const PER_ROUND = 1_000
const ROUNDS = 5

let serial = 0

const post = (agent: Agent, url: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const id = `g-${process.pid}-${serial++}`
    const body = JSON.stringify({
      session_id: id,
      workspace_id: id,
      framework: 'static',
      prompt: 'Build a small page.',
    })
    const req = request(url, { method: 'POST', agent, headers: { 'content-type': 'application/json' } }, (res) => {
      res.resume()
      res.once('end', () => (res.statusCode === 202 ? resolve() : reject(new Error(`answered ${res.statusCode}`))))
    })
    req.once('error', reject)
    req.end(body)
  })

/** Accepted POSTs per second, with as many in flight as there are connections. */
const rate = async (url: string, total: number): Promise<number> => {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  const start = performance.now()
  let left = total
  const client = async () => {
    while (left-- > 0) await post(agent, url)
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, client))
  agent.destroy()
  return total / ((performance.now() - start) / 1000)
}

/** Accepted generates per second of one API process against the bare one, in turns. */
export const benchGenerate = async (bench: Bench): Promise<Findings> => {
  await using stack = new AsyncDisposableStack()
  const ours = stack.use(await startApi(bench, 'bench_generate'))
  const port = await freePort()
  stack.use(
    startNode(join(import.meta.dirname, 'bare-api.ts'), {
      PORT: String(port),
      MONGODB_URL: bench.mongo.url,
      MONGODB_DB: 'bench_bare',
      REDIS_URL: bench.redis.url,
    }),
  )
  const bare = `http://127.0.0.1:${port}`
  await untilReady(`${bare}/readyz`)
  const rates = { ours: [] as number[], bare: [] as number[] }
  for (let round = -1; round < (bench.quick ? 1 : ROUNDS); round++) {
    const a = await rate(`${bare}/generate`, PER_ROUND)
    const b = await rate(`${ours.url}/api/agent/generate`, PER_ROUND)
    if (round < 0) continue
    rates.bare.push(a)
    rates.ours.push(b)
  }
  const rows = [relative('generate, accepted per second', median(rates.ours), '1/s', median(rates.bare), { min: 0.5 })]
  return { rows }
}
