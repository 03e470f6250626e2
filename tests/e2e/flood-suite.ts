import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import type { Run } from '#contracts/run.ts'
import type { JobQueue } from '#queue/job-queue.ts'
import { DEFAULT_TIMINGS } from '#scheduler/worker-context.ts'
import { acceptRun } from '#store/accept-run.ts'
import type { Store } from '#store/store.ts'
import { newRunOf } from '../conformance/store-world.ts'
import { agent } from '../fakes/scripted-agent.ts'
import { createScriptedEngine, type ScriptedEngine } from '../fakes/scripted-engine.ts'
import { tempDir, waitFor } from '../helpers.ts'
import { createScriptedWorker } from '../scheduler/scripted-worker.ts'

/** What the flood is poured on: a real API, store and queue. Only the containers are scripted. */
export type Site = { readonly url: string; readonly store: Store; readonly queue: JobQueue; readonly pid: number }

type Answer = {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly body: Record<string, string>
}

/** Sockets at once: what one machine's client may have open. */
const SOCKETS = 400

const post = (url: string, via: Agent, body: object): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' }
    const sent = request(`${url}/api/agent/generate`, { method: 'POST', agent: via, headers }, async (response) => {
      let text = ''
      for await (const part of response.setEncoding('utf8')) text += part
      const { statusCode: status = 0, headers: answered } = response
      resolve({ status, retryAfter: answered['retry-after'], body: JSON.parse(text) })
    })
    sent.on('error', reject)
    sent.end(JSON.stringify(body))
  })

const pour = async (url: string, n: number): Promise<Answer[]> => {
  const via = new Agent({ keepAlive: true, maxSockets: SOCKETS })
  try {
    const asked = Array.from({ length: n }, (_, i) =>
      post(url, via, { session_id: `flood-${i}`, workspace_id: `flood-${i}`, framework: 'static', prompt: `p${i}` }),
    )
    return await Promise.all(asked)
  } finally {
    via.destroy()
  }
}

/** Bytes of memory that a process has had at most; 0 where the system does not say. */
const peakMemory = async (pid: number): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024
}

/** Workers whose containers are scripted: each run writes what a runner would, straight into the log. */
export const startWorkers = async (
  t: { after(fn: () => unknown): void },
  { store, queue }: Pick<Site, 'store' | 'queue'>,
  places: readonly number[],
): Promise<ScriptedEngine> => {
  const engine = createScriptedEngine({ runner: agent(store.events) })
  const root = await tempDir(t)
  for (const [n, concurrency] of places.entries()) {
    const shared = { store, queue, engine, engineId: 'scripted', root, name: `worker-${n}` }
    const worker = createScriptedWorker(shared, { config: { concurrency }, timings: DEFAULT_TIMINGS })
    t.after(() => worker[Symbol.asyncDispose]())
    worker.start()
  }
  return engine
}

const settled = async (store: Store): Promise<boolean> => {
  const [waiting, active] = await Promise.all([store.runs.queued(1), store.runs.active()])
  return waiting.length === 0 && active.length === 0
}

/** The promise, for one run: it is over, exactly once, and its log says so as its last word. */
const checkRun = async (store: Store, engine: ScriptedEngine, runId: string): Promise<Run> => {
  const run = await store.runs.get(runId)
  assert.equal(run?.state, 'finished')
  assert.equal(run.result?.cause, 'completed')
  const events = await store.events.list(run.session_id, { after: 0, limit: 100 })
  assert.equal(events.filter(({ event_type }) => event_type === 'finish').length, 1)
  assert.equal(events.at(-1)?.event_type, 'finish')
  assert.equal(engine.boxes.filter(({ spec }) => spec.run_id === runId).length, 1)
  return run
}

/** Two tenants that come with ten runs each while the flood waits. */
const latecomers = async ({ store, queue }: Site): Promise<Run[]> => {
  const runs: Run[] = []
  for (let n = 0; n < 20; n++) {
    const result = await acceptRun(store, newRunOf({ tenant_id: n % 2 === 0 ? 'b' : 'c' }))
    assert(result.outcome === 'accepted')
    runs.push(result.run)
    await queue.enqueue({ run_id: result.run.run_id, session_id: result.run.session_id }, { isNew: true })
  }
  return runs
}

/** Runs of the flood that were taken up between the moment these tenants came and their last start. */
const overtaken = (flood: readonly Run[], late: readonly Run[]): number => {
  const from = Math.max(...late.map(({ created_at }) => created_at.getTime()))
  const to = Math.max(...late.map(({ started_at }) => started_at?.getTime() ?? 0))
  return flood.filter(({ started_at }) => started_at && started_at.getTime() > from && started_at.getTime() < to).length
}

/** Many more generates than may wait, all at once; two small tenants in the middle of it; then every promise is checked. */
export const flood = async (
  t: { after(fn: () => unknown): void; diagnostic(text: string): void },
  site: Site,
  { generates, maxQueued }: { readonly generates: number; readonly maxQueued: number },
) => {
  const { store, url, pid } = site
  const answers = await pour(url, generates)
  const accepted = answers.filter(({ status }) => status === 202)
  const refused = answers.filter(({ status }) => status === 429)
  assert.equal(accepted.length + refused.length, generates, JSON.stringify(answers.find((one) => one.status >= 500)))
  assert.equal(accepted.length, maxQueued, 'nobody works yet: exactly as many as may wait')
  for (const { retryAfter, body } of refused) {
    assert.match(retryAfter ?? '', /^[1-9]\d*$/)
    assert.equal(body.code, 'QUEUE_FULL')
  }
  assert.equal((await store.runs.countWaiting()).get('default'), maxQueued)
  const late = await latecomers(site)
  const engine = await startWorkers(t, site, [3, 3])
  await waitFor(() => settled(store), { what: 'every run to be over', timeoutMs: 100_000, everyMs: 100 })
  const runs: Run[] = []
  for (const { body } of accepted) runs.push(await checkRun(store, engine, body.run_id ?? ''))
  const small: Run[] = []
  for (const { run_id } of late) small.push(await checkRun(store, engine, run_id))
  assert.equal(engine.boxes.length, runs.length + small.length, 'nothing ran but what was accepted')
  // First in, first out would be all of them; turns are one of the flood for each of the others.
  const before = overtaken(runs, small)
  assert.ok(before < maxQueued / 3, `${before} runs of the flood went before the last of two small tenants`)
  const peak = await peakMemory(pid)
  t.diagnostic(`${before} runs of the flood beside 20 others; API at ${Math.round(peak / 1024 ** 2)} MiB at most`)
  assert.ok(peak < 512 * 1024 ** 2, `${peak} bytes: more than the compose file gives the API`)
}
