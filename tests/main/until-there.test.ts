import assert from 'node:assert/strict'
import { test } from 'node:test'
import { untilThere } from '#main/until-there.ts'
import { EngineError } from '#scheduler/engines/engine.ts'

const listen = () => {
  const lines: string[] = []
  const say = (line: unknown) => void lines.push(String(line))
  return { lines, log: { warn: say, info: say } }
}

test('says once what is missing, tries again, and says when it is there', async () => {
  const { lines, log } = listen()
  let tries = 0
  const value = await untilThere(
    'the store',
    async () => {
      tries += 1
      if (tries < 3) throw new Error('mongodb://mgx:geheim@db does not answer\nwith a second line')
      return 'open'
    },
    { log, signal: new AbortController().signal },
  )
  assert.equal(value, 'open')
  assert.deepEqual(lines, ['waiting for the store: mongodb://***@db does not answer', 'the store: there now'])
})

test('says a new reason when it changes, with the remedy of an engine', async () => {
  const { lines, log } = listen()
  const failures = [
    new AggregateError([new Error('connect ECONNREFUSED')]),
    new EngineError('image_missing', 'there is no image', 'Build it.'),
  ]
  const attempt = async () => {
    const failure = failures.shift()
    if (failure !== undefined) throw failure
  }
  await untilThere('the engine', attempt, { log, signal: new AbortController().signal })
  assert.deepEqual(lines, [
    'waiting for the engine: connect ECONNREFUSED',
    'waiting for the engine: there is no image. Build it.',
    'the engine: there now',
  ])
})

test('is silent when all is well, and gives up when it is told to', async () => {
  const { lines, log } = listen()
  await untilThere('x', async () => 1, { log, signal: new AbortController().signal })
  assert.deepEqual(lines, [])
  const controller = new AbortController()
  const waiting = untilThere('x', () => Promise.reject(new Error('down')), { log, signal: controller.signal })
  controller.abort(new Error('SIGTERM received'))
  await assert.rejects(waiting, /SIGTERM received/)
})
