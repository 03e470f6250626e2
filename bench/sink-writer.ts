/**
 * A process that stands for the runner: hands events to a sink of the runner's at a steady pace, or as fast as they are
 * taken. Each carries the time at which it was handed over. Started by bench/writer.ts with one JSON line in argv.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { MongoClient } from 'mongodb'
import { createEventLogSink } from '#agent-runner/sinks/event-log.ts'
import type { EventSink } from '#agent-runner/sinks/event-sink.ts'
import { createGatewaySink } from '#agent-runner/sinks/gateway.ts'
import { makeEvent, type NewEvent } from '#contracts/events.ts'
import { openMongoEventLog } from '#store/mongodb-event-log.ts'
import type { WriterJob } from './writer.ts'

/** The floor: one insert that a majority has, into a collection without any index of ours. */
const openBare = async (url: string, db: string): Promise<EventSink> => {
  const client = await new MongoClient(url, { writeConcern: { w: 'majority' } }).connect()
  const bare = client.db(db).collection<NewEvent>('bare_events')
  return {
    append: async (events) => {
      await bare.insertMany([...events])
      return { outcome: 'stored', ending: false }
    },
    history: async () => [],
  }
}

const openSink = async ({ run, channel }: WriterJob): Promise<EventSink> => {
  if (channel.kind === 'gateway') return createGatewaySink(channel.url, channel.token)
  if (channel.kind === 'bare') return openBare(channel.url, channel.db)
  return createEventLogSink(await openMongoEventLog(channel), run.session_id)
}

const job = JSON.parse(process.argv[2] ?? '') as WriterJob
const sink = await openSink(job)
const never = new AbortController().signal

const write = async (first: number, count: number): Promise<void> => {
  const batch = Array.from({ length: count }, (_, n) => {
    const message = String(process.hrtime.bigint())
    return makeEvent(job.run, `${job.run.run_id}:r:${first + n}`, 'log', { level: 'info', message })
  })
  await sink.append(batch, { unlessEnding: false }, never)
}

let next = performance.now()
for (let n = job.first; n < job.first + job.events; n += job.batch) {
  await write(n, Math.min(job.batch, job.first + job.events - n))
  next += job.everyMs
  if (job.everyMs > 0) await sleep(Math.max(0, next - performance.now()))
}
process.exit(0)
