import assert from 'node:assert/strict'
import { test } from 'node:test'
import { agent, gate } from '../fakes/scripted-agent.ts'
import { patches } from '../fakes/scripted-process.ts'
import { exits, hangs } from '../fakes/scripted-runners.ts'
import { waitFor } from '../helpers.ts'
import { openWorld, type World } from './world.ts'

const textOf = async (world: World, runId: string): Promise<string> => {
  const { size } = await world.store.logs.stat(runId)
  let text = ''
  for (let offset = 0; offset < size; ) {
    const slice = await world.store.logs.read(runId, offset, size)
    if (slice === undefined) break
    text += new TextDecoder().decode(slice.data)
    offset = slice.offset + slice.data.byteLength
  }
  return text
}

test('what a container says is there while it runs, and after it is gone', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) =>
    agent(events, {
      async beforeStep(_step, self) {
        self.print('first\n')
        await held.hook()
        self.print('second\n')
      },
    }),
  )
  world.worker().consume()
  const run = await world.generate()
  await waitFor(async () => (await textOf(world, run.run_id)) === 'first\n')
  assert.equal((await world.store.logs.stat(run.run_id)).complete, false)
  held.open()
  await world.over(run)
  assert.equal(await textOf(world, run.run_id), 'first\nsecond\n')
  assert.equal((await world.store.logs.stat(run.run_id)).complete, true)
})

test('a daemon that restarts in between: read again from the first byte, nothing twice, nothing lost', async (t) => {
  const world = await openWorld(t, () => hangs)
  world.worker().consume()
  const run = await world.generate()
  await world.event(run, 'running')
  const box = world.engine.box(run.run_id)
  box?.print('before\n')
  await waitFor(async () => (await textOf(world, run.run_id)) === 'before\n')
  world.engine.goAway()
  box?.print('meanwhile\n')
  world.engine.comeBack()
  box?.print('after\n')
  await waitFor(async () => (await textOf(world, run.run_id)) === 'before\nmeanwhile\nafter\n')
  box?.end(0)
  await world.over(run)
  assert.equal(await textOf(world, run.run_id), 'before\nmeanwhile\nafter\n')
})

test('a stream that ends while the container runs was cut', async (t) => {
  const world = await openWorld(t, () => hangs)
  const worker = world.worker()
  const { engine } = worker.ctx
  let cuts = 0
  Object.assign(worker.ctx, {
    engine: {
      ...engine,
      async *logs(...args: Parameters<typeof engine.logs>) {
        for await (const chunk of engine.logs(...args)) {
          yield chunk
          cuts += 1
          if (cuts <= 2) return
        }
      },
    },
  })
  worker.consume()
  const run = await world.generate()
  await world.event(run, 'running')
  const box = world.engine.box(run.run_id)
  for (const word of ['one ', 'two ', 'three ']) box?.print(word)
  await waitFor(async () => (await textOf(world, run.run_id)) === 'one two three ')
  box?.end(0)
  await world.over(run)
})

test('long output that a daemon cut short when the container left is read once more', async (t) => {
  const world = await openWorld(t, () => hangs)
  const worker = world.worker()
  const { engine } = worker.ctx
  const [kept, dropped] = ['a'.repeat(100_000), 'b'.repeat(100_000)]
  let readings = 0
  Object.assign(worker.ctx, {
    engine: {
      ...engine,
      async *logs(...args: Parameters<typeof engine.logs>) {
        readings += 1
        let room = readings === 1 ? kept.length : Infinity
        for await (const chunk of engine.logs(...args)) {
          if (room > 0) yield chunk.subarray(0, room)
          room -= chunk.byteLength
        }
      },
    },
  })
  worker.consume()
  const run = await world.generate()
  await world.event(run, 'running')
  const box = world.engine.box(run.run_id)
  box?.print(kept)
  box?.print(dropped)
  box?.end(0)
  await world.over(run)
  assert.equal(await textOf(world, run.run_id), kept + dropped)
  assert.equal(readings, 2)
})

test('an adopter copies what was said while nobody listened', async (t) => {
  const world = await openWorld(t, () => hangs)
  const [first, second] = [world.worker(), world.worker()]
  first.consume()
  const run = await world.generate()
  await world.event(run, 'running')
  const box = world.engine.box(run.run_id)
  box?.print('one ')
  await waitFor(async () => (await textOf(world, run.run_id)) === 'one ')
  first.die()
  box?.print('two ')
  box?.end(4)
  await world.forget(run)
  await second.handle(run)
  await world.over(run)
  assert.equal(await textOf(world, run.run_id), 'one two ')
  assert.deepEqual((await world.run(run)).exit, { code: 4, reason: 'exited' })
})

test('the container is not removed before its last words are stored, though the store is slow', async (t) => {
  const world = await openWorld(t, () => async (self) => {
    self.print('last words')
    return exits(1)(self)
  })
  const worker = world.worker()
  worker.process.cutOff = 'logs.'
  const stored = worker.process.sleepAt('after', patches('exit'))
  worker.consume()
  const run = await world.generate()
  await stored
  worker.process.wake()
  await waitFor(() => worker.process.calls.filter(({ name }) => name === 'logs.append').length > 2)
  assert(world.engine.box(run.run_id), 'it is still there')
  assert.equal((await world.run(run)).exit?.code, 1)
  worker.process.cutOff = undefined
  await world.over(run)
  assert.equal(await textOf(world, run.run_id), 'last words')
})
