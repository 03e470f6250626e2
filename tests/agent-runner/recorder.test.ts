import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SinkRefused } from '#agent-runner/sinks/event-sink.ts'
import { sleep, waitFor } from '../helpers.ts'
import { log, openRecorder as open, STORED, scriptedSink } from './scripted-sink.ts'

test('the first event of an idle recorder leaves at once, alone; what comes meanwhile leaves together, in order', async () => {
  const gate = Promise.withResolvers<void>()
  const { sink, tries } = scriptedSink(async () => {
    await gate.promise
    return STORED
  })
  const { recorder } = open(sink)
  recorder.record('log', log('one'))
  assert.equal(tries.length, 1, 'before anything is awaited')
  for (const text of ['two', 'three']) recorder.record('log', log(text))
  gate.resolve()
  await recorder.flush()
  assert.deepEqual(
    tries.map(({ events }) => events.map((event) => event._id)),
    [['r:r:1'], ['r:r:2', 'r:r:3']],
  )
})

test('deltas of one message gather into one while a write is under way; indexes and counts leave no gap', async () => {
  const gate = Promise.withResolvers<void>()
  const { sink, tries } = scriptedSink(async () => {
    await gate.promise
    return STORED
  })
  const { recorder } = open(sink)
  for (const text of ['a', 'b', 'c']) recorder.delta('m', 'text', text)
  recorder.delta('m', 'reasoning', 'why')
  recorder.delta('m', 'text', 'd'.repeat(5000))
  recorder.record('message_complete', {
    message_id: 'm',
    role: 'assistant',
    content: '',
    tool_calls: [],
    finish_reason: 'stop',
    deltas: 0,
    model: 'x',
  })
  gate.resolve()
  await recorder.flush()
  const events = tries.flatMap((each) => each.events)
  assert.deepEqual(
    events.map((event) =>
      event.event_type === 'message_delta'
        ? [event.data.index, event.data.kind, event.data.delta.slice(0, 3), event.data.delta.length]
        : event.event_type === 'message_complete' && event.data.deltas,
    ),
    [
      [0, 'text', 'a', 1],
      [1, 'text', 'bc', 2],
      [2, 'reasoning', 'why', 3],
      [3, 'text', 'ddd', 4096],
      [4, 'text', 'ddd', 904],
      5,
    ],
  )
})

test('a batch that failed is sent again unchanged until it is stored, and what follows waits', async () => {
  const { sink, tries } = scriptedSink((_, n) => {
    if (n < 3) throw new Error('down')
    return STORED
  })
  const { recorder, stops } = open(sink)
  recorder.record('log', log('one'))
  recorder.record('log', log('two'))
  await recorder.flush()
  assert.deepEqual(
    tries.map(({ events }) => events.map((event) => event._id).join()),
    ['r:r:1', 'r:r:1', 'r:r:1', 'r:r:2'],
  )
  assert.equal(tries[0]?.events[0], tries[2]?.events[0])
  assert.deepEqual(stops, [])
})

test('a sink that hangs is asked again', async () => {
  const { sink, tries } = scriptedSink((_, n) => (n === 1 ? new Promise<never>(() => {}) : STORED))
  const { recorder } = open(sink, { timings: { attempt: 20, firstPause: 1 } })
  recorder.record('log', log('one'))
  await recorder.flush()
  assert.equal(tries.length, 2)
})

test('no model step begins while nothing could be stored for some time; it does when something is stored again', async () => {
  let isDown = true
  const { sink } = scriptedSink(() => {
    if (isDown) throw new Error('down')
    return STORED
  })
  const { recorder } = open(sink, { timings: { firstPause: 5, maxPause: 10, hold: 30 } })
  const { signal } = new AbortController()
  await recorder.ready(signal)
  recorder.record('log', log('one'))
  await recorder.ready(signal)
  await sleep(60)
  let isReady = false
  const ready = recorder.ready(signal).then(() => {
    isReady = true
  })
  await sleep(50)
  assert.equal(isReady, false)
  isDown = false
  await ready
  const aborted = new AbortController()
  isDown = true
  recorder.record('log', log('two'))
  await sleep(60)
  const waiting = recorder.ready(aborted.signal)
  aborted.abort()
  await waiting
  isDown = false
  await recorder.flush()
})

test('after long enough without a successful write the recorder gives up, and says so', async () => {
  const { sink } = scriptedSink(() => {
    throw new Error('down')
  })
  const { recorder, stops } = open(sink, { timings: { firstPause: 5, maxPause: 10, hold: 10, giveUp: 50 } })
  recorder.record('log', log('one'))
  const ready = waitFor(() => stops.length > 0).then(() => recorder.ready(new AbortController().signal))
  assert.equal(await recorder.settle('agent_end', { status: 'completed', reason: '', steps: 0, tool_calls: 0 }), 'lost')
  await recorder.flush()
  await ready
  assert.deepEqual(stops, ['cannot_store'])
  assert.equal(await recorder.settle('log', log('late')), 'lost')
})

test('what a sink refuses for good ends the recorder at once', async () => {
  const { sink, tries } = scriptedSink(() => {
    throw new SinkRefused('no')
  })
  const { recorder, stops } = open(sink)
  recorder.record('log', log('one'))
  await recorder.flush()
  assert.deepEqual([tries.length, stops], [1, ['cannot_store']])
})

test('finish in the log ends the recorder: nothing more is sent', async () => {
  const { sink, tries } = scriptedSink(() => ({ outcome: 'finished' }))
  const { recorder, stops } = open(sink)
  const first = recorder.settle('log', log('one'))
  recorder.record('log', log('two'))
  assert.equal(await first, 'finished')
  await recorder.flush()
  assert.deepEqual([tries.length, stops], [1, ['finished']])
})

test('an event that is written only unless the run is being ended goes alone', async () => {
  const gate = Promise.withResolvers<void>()
  const { sink, tries } = scriptedSink(async ({ unlessEnding }) => {
    await gate.promise
    return unlessEnding ? { outcome: 'ending' } : STORED
  })
  const { recorder, stops } = open(sink)
  recorder.record('log', log('one'))
  recorder.record('log', log('two'))
  const finish = { status: 'success', cause: 'completed', synthetic: false } as const
  const settled = recorder.settle('finish', finish, { id: 'r:finish', unlessEnding: true })
  recorder.record('log', log('three'))
  gate.resolve()
  assert.equal(await settled, 'ending')
  await recorder.flush()
  assert.deepEqual(
    tries.map(({ events, unlessEnding }) => [events.map((event) => event._id).join(), unlessEnding]),
    [
      ['r:r:1', false],
      ['r:r:2', false],
      ['r:finish', true],
      ['r:r:3', false],
    ],
  )
  assert.deepEqual(stops, ['ending'])
})
