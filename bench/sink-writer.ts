/**
 * A process that stands for the runner: hands events to a sink of the runner's at a steady pace. Each carries the time at
 * which it was handed over. Started by bench/event-latency.ts with one JSON line in argv.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createEventLogSink } from '#agent-runner/sinks/event-log.ts'
import type { EventSink } from '#agent-runner/sinks/event-sink.ts'
import { createGatewaySink } from '#agent-runner/sinks/gateway.ts'
import { makeEvent, type RunRef } from '#contracts/events.ts'
import { openMongoEventLog } from '#store/mongodb-event-log.ts'

export type WriterJob = {
  readonly run: RunRef
  readonly events: number
  readonly everyMs: number
  readonly channel:
    | { readonly kind: 'gateway'; readonly url: string; readonly token: string }
    | { readonly kind: 'direct'; readonly url: string; readonly db: string }
}

const openSink = async ({ run, channel }: WriterJob): Promise<EventSink> =>
  channel.kind === 'gateway'
    ? createGatewaySink(channel.url, channel.token)
    : createEventLogSink(await openMongoEventLog(channel), run.session_id)

const job = JSON.parse(process.argv[2] ?? '') as WriterJob
const sink = await openSink(job)
const never = new AbortController().signal
let next = performance.now()
for (let n = 0; n < job.events; n++) {
  const message = String(process.hrtime.bigint())
  const event = makeEvent(job.run, `${job.run.run_id}:r:${n}`, 'log', { level: 'info', message })
  await sink.append([event], { unlessEnding: false }, never)
  next += job.everyMs
  await sleep(Math.max(0, next - performance.now()))
}
process.exit(0)
