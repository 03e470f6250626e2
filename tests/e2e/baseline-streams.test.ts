import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { pino } from 'pino'
import { eventIds, makeEvent, type SessionEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import { serveApi } from '#main/serve-api.ts'
import { openBullQueue } from '#queue/bullmq.ts'
import { openMongoStore } from '#store/mongodb.ts'
import type { OpenStore } from '#store/store.ts'
import { checkRuns } from '../chaos/check.ts'
import { flowing, LIMIT, sharedWorld, type World } from '../chaos/world.ts'
import { sleep } from '../helpers.ts'
import type { Stack } from './stack.ts'

/** Every limit of the API for a request, far below what the run takes: a stream is not a request that is slow. */
const SHORT_MS = 300

const log = pino({ level: 'silent' })

const openStore = (open: AsyncDisposableStack, { servicesUrl, installation }: Stack): Promise<OpenStore> =>
  openMongoStore({ url: servicesUrl, db: installation, log }).then((store) => open.use(store))

/** One more API on the same services, with short times. */
const openHurriedApi = async (open: AsyncDisposableStack, stack: Stack): Promise<string> => {
  const store = await openStore(open, stack)
  const queue = open.use(openBullQueue({ url: stack.redis.url, prefix: stack.installation, log }))
  const times = { heartbeatMs: SHORT_MS, handlerTimeoutMs: SHORT_MS }
  const api = {
    corsOrigins: [],
    maxQueuedRuns: 100,
    maxQueuedRunsPerTenant: 100,
    queueTimeoutSeconds: 60,
    docs: false,
    version: '0',
    ...times,
  }
  return open.use(await serveApi({ store, queue, api, listen: { host: '127.0.0.1', port: 0 }, log })).url
}

/** More events than any page or cap, all of one moment, as if the runner had said them. */
const MANY = 2_500

const sayMuch = async ({ events }: OpenStore, run: Run): Promise<void> => {
  const said = Array.from({ length: MANY }, (_, n) =>
    makeEvent(run, eventIds.runner(run.run_id, 1_000_000 + n), 'log', { level: 'info', message: `line ${n}` }),
  )
  const timestamp = new Date()
  for (let from = 0; from < MANY; from += 500) {
    await events.append(
      run.session_id,
      said.slice(from, from + 500).map((event) => ({ ...event, timestamp })),
    )
  }
}

const countSaid = (events: readonly SessionEvent[]): number =>
  events.filter(({ event_type }) => event_type === 'log').length

describe('baseline: streams', { concurrency: true }, () => {
  const on = sharedWorld({})

  test(
    'stream older than every time-out: it goes on to the finish, and says nothing that is not stored',
    LIMIT,
    on(async (world: World) => {
      await using open = new AsyncDisposableStack()
      const url = await openHurriedApi(open, world.stack)
      const watched = await world.ask('old', { urls: [url] })
      await watched.talking()
      await sleep(10 * SHORT_MS)
      await flowing(watched)
      watched.release()
      const [over] = await checkRuns(world.stack, watched)
      assert.equal(over?.result.status, 'success')
      assert.equal(watched.client.connections, 1, 'on one connection')
    }),
  )

  test(
    "only the run's own limit ends it: the stored finish says timeout, and so does the result",
    LIMIT,
    on(async (world) => {
      const watched = await world.ask('limited', { body: { options: { timeout_seconds: 5 } } })
      const [over] = await checkRuns(world.stack, watched)
      assert.deepEqual([over?.result.status, over?.result.cause], ['timeout', 'timeout'])
      assert.equal(over?.result.error, 'Agent task timeout after 5 seconds')
    }),
  )

  test(
    '1.3: thousands of events, all of one millisecond: none is capped or lost, live or later',
    LIMIT,
    on(async (world) => {
      await using open = new AsyncDisposableStack()
      const store = await openStore(open, world.stack)
      const watched = await world.ask('much')
      await watched.talking()
      await sayMuch(store, await world.document(watched))
      const late = world.watch(watched.run, watched.prompt)
      await flowing(watched)
      watched.release()
      await checkRuns(world.stack, watched, late)
      assert.equal(countSaid(watched.client.events), MANY)
      assert.equal(countSaid(late.client.events), MANY)
    }),
  )
})
