/** A worker in a process of its own, for tests that kill it: prints each run it takes up, and keeps it until told to stop. */
import { openBullQueue } from '#queue/bullmq.ts'

const [url = '', prefix = '', lockMs = '', stalledCheckMs = ''] = process.argv.slice(2)

const lease = { lockMs: Number(lockMs), stalledCheckMs: Number(stalledCheckMs) }
const queue = openBullQueue({ url, prefix, lease })

queue.consume(
  async ({ run_id }, signal) => {
    process.stdout.write(`${run_id}\n`)
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    return { kind: 'later', delayMs: 60_000 }
  },
  { concurrency: 1 },
)

process.once('SIGTERM', async () => {
  await queue[Symbol.asyncDispose]()
  process.exit(0)
})
