import { openBullQueue } from '#queue/bullmq.ts'
import { createInProcessQueue } from '#queue/in-process.ts'
import type { JobOutcome, JobQueue } from '#queue/job-queue.ts'
import { benchLog } from './accepted.ts'
import { growthChart, growthRows, type Taken } from './growth.ts'
import type { Findings } from './part.ts'
import { median } from './row.ts'
import type { Bench } from './stack.ts'

type Queue = JobQueue & AsyncDisposable

const AT_ONCE = 500
const TIMES = 50

const fill = async (queue: Queue, from: number, to: number): Promise<void> => {
  for (let n = from; n < to; n += AT_ONCE) {
    const jobs = Array.from({ length: Math.min(AT_ONCE, to - n) }, (_, i) => ({
      run_id: `r-${n + i}`,
      session_id: `s-${n + i}`,
    }))
    await Promise.all(jobs.map((job) => queue.enqueue(job, { isNew: true })))
  }
}

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const start = performance.now()
  await work()
  return performance.now() - start
}

/** Milliseconds between one job that is taken and the next, with one handler that does nothing. */
const takes = async (queue: Queue): Promise<number> => {
  const moments: number[] = []
  const enough = Promise.withResolvers<void>()
  const handler = async (): Promise<JobOutcome> => {
    moments.push(performance.now())
    if (moments.length > TIMES) enough.resolve()
    return { kind: 'done' }
  }
  await using _ = queue.consume(handler, { concurrency: 1 })
  await enough.promise
  return median(moments.slice(1, TIMES).map((at, n) => at - (moments[n] ?? at)))
}

/** Hints again for jobs that wait, as `reconcile` gives them. */
const again = async (queue: Queue, n: number): Promise<number> =>
  timed(() => queue.enqueue({ run_id: `r-${n}`, session_id: `s-${n}` }))

const measure = async (adapter: string, queue: Queue, sizes: readonly number[]): Promise<Taken[]> => {
  const found: Taken[] = []
  let there = 0
  await queue.ping()
  for (const size of sizes) {
    await fill(queue, there, size + TIMES)
    there = size + TIMES
    const enqueued: number[] = []
    const repeated: number[] = []
    for (let n = 0; n < TIMES; n++) {
      enqueued.push(
        await timed(() => queue.enqueue({ run_id: `r-${there}`, session_id: `s-${there}` }, { isNew: true })),
      )
      repeated.push(await again(queue, there))
      there += 1
    }
    const take = (operation: string, ms: number) => found.push({ adapter, operation, size, ms })
    take('enqueue', median(enqueued))
    take('enqueue again', median(repeated))
    take('count', median(await Promise.all(Array.from({ length: 10 }, () => timed(() => queue.stats())))))
    take('take', await takes(queue))
  }
  return found
}

/** What a hint, a take and a count cost while 10², 10⁴ and 10⁵ jobs wait. */
export const benchGrowthQueue = async (bench: Bench): Promise<Findings> => {
  const sizes = bench.quick ? [100, 10_000] : [100, 10_000, 100_000]
  await using bull = openBullQueue({ url: bench.redis.url, prefix: 'bench-growth', log: benchLog })
  await using memory = createInProcessQueue({ log: benchLog })
  const found = [...(await measure('BullMQ', bull, sizes)), ...(await measure('in-process', memory, sizes))]
  const chart = growthChart(found, ['BullMQ', 'in-process'], {
    file: 'growth-queue',
    title: 'The queue with many jobs waiting',
    subtitle: 'Milliseconds of one call; take: from one job to the next, one handler that does nothing.',
    x: 'jobs waiting',
  })
  return { rows: growthRows(found, 'jobs waiting'), charts: [chart] }
}
