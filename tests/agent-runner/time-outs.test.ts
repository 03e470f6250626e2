import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runJob } from '#agent-runner/run.ts'
import type { EventSink } from '#agent-runner/sinks/event-sink.ts'
import { setupOf } from './in-process.ts'
import { begins, calls, says } from './scripted-model.ts'
import { checkLog, openWorld } from './world.ts'

const RETRY = { firstPause: 5, maxPause: 10, gatewayPause: 10 }

/** Long enough for a model that does answer, on a busy machine. */
const SILENCE_MS = 1_500

for (const [what, pieces, step] of [
  ['before its first word', [], { firstChunkMs: SILENCE_MS }],
  ['in the middle', ['Well, '], { chunkMs: SILENCE_MS }],
] as const)
  test(`a model that falls silent ${what} is asked again`, async (t) => {
    const world = await openWorld(t, { replies: [begins(pieces, 'stall'), says('Here.')] })
    assert.equal(await runJob(setupOf(world, { timings: { step, retry: RETRY } })), 'ok')
    checkLog(await world.log())
    assert.deepEqual(
      (await world.of('error')).map(({ data }) => data.code),
      ['stalled'],
    )
    await world.model.requests[0]?.closed
  })

test('a runner that cannot store for long enough leaves with the code for it, whatever it was doing', async (t) => {
  const world = await openWorld(t, { replies: [calls([{ name: 'bash', args: { command: 'sleep 300' } }])] })
  let stored = 0
  const complaints: string[] = []
  const setup = setupOf(world)
  const sink: EventSink = {
    ...setup.sink,
    append: (events, options, signal) => {
      stored += 1
      if (stored > 2) throw new Error('the disk is full')
      return setup.sink.append(events, options, signal)
    },
  }
  const timings = { sink: { firstPause: 5, maxPause: 10, hold: 20, giveUp: 200 } }
  assert.equal(await runJob({ ...setup, sink, timings, complain: (line) => complaints.push(line) }), 'cannotStore')
  assert.match(complaints.join('\n'), /events cannot be stored: the disk is full; leaving/)
})

test('a worker that refuses the events for good ends the runner at once', async (t) => {
  const world = await openWorld(t, { replies: [says('never asked')] })
  const setup = setupOf(world, {}, { run_id: 'another-run' })
  assert.equal(await runJob(setup), 'cannotStore')
  assert.equal((await world.log()).length, 2)
})
