import assert from 'node:assert/strict'
import { test } from 'node:test'
import { acceptRun } from '#store/accept-run.ts'
import { newRunOf } from '../../conformance/store-world.ts'
import { agent } from '../../fakes/scripted-agent.ts'
import { appends, createScriptedProcess, named, patches } from '../../fakes/scripted-process.ts'
import { hangs } from '../../fakes/scripted-runners.ts'
import { scriptedStore } from '../../fakes/scripted-store.ts'
import { openWorld } from '../world.ts'

test("rule 5 / V6: a client's own retry gets its run and not SESSION_BUSY, and announces it", async (t) => {
  const world = await openWorld(t, () => hangs)
  const api = createScriptedProcess()
  t.after(() => api.bury())
  const died = api.dieAt('before', appends('user_message'))
  const first = newRunOf({ idempotency_key: 'k', idempotency_hash: 'h' })
  void acceptRun(scriptedStore(world.store, api), first).catch(() => {})
  await died
  assert.equal((await world.log(await world.run(first as never))).length, 0)
  const { session_id, workspace_id } = first
  const retry = newRunOf({ session_id, workspace_id, idempotency_key: 'k', idempotency_hash: 'h' })
  const result = await acceptRun(world.store, retry)
  assert(result.outcome === 'replayed')
  assert.equal(result.run.run_id, first.run_id)
  assert.equal((await world.log(result.run))[0]?.event_type, 'user_message')
})

test('rule 5 / V7: finish frees the session at once, and the next start waits for the old container', async (t) => {
  const seen: string[] = []
  const world = await openWorld(t, ({ events }) =>
    agent(events, { beforeStart: ({ spec }) => void seen.push(`${spec.run_id} starts`) }),
  )
  const worker = world.worker()
  const asleep = worker.process.sleepAt('before', named('engine.remove'))
  worker.consume()
  const run = await world.generate()
  await asleep
  const { session_id, workspace_id } = run
  const next = await world.generate({ session_id, workspace_id })
  const other = world.worker()
  const handled = other.handle(next)
  await world.event(next, 'starting')
  assert.deepEqual(seen, [`${run.run_id} starts`], 'the old container is still there')
  worker.process.wake()
  await handled
  assert.equal((await world.over(run)).data.cause, 'completed')
  assert.equal((await world.over(next)).data.cause, 'completed')
  const { exit } = await world.run(run)
  assert.equal(exit?.code, 0, 'its exit facts were kept')
})

test('rule 5 / V7: freeing the session does not let reconcile remove a container before its facts are stored', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events, { beforeFinish: (self) => self.print('last words') }))
  const worker = world.worker()
  const dead = worker.process.dieAt('before', patches('exit'))
  worker.consume()
  const run = await world.generate()
  await dead
  const { session_id, workspace_id } = run
  const next = await world.generate({ session_id, workspace_id })
  const other = world.worker()
  await other.reconcile()
  assert(world.engine.box(run.run_id), 'its owner may still be at it')
  await world.forget(run)
  await other.reconcile()
  await world.over(run)
  assert.equal((await world.run(run)).exit?.code, 0)
  const slice = await world.store.logs.read(run.run_id, 0, 100)
  assert.equal(new TextDecoder().decode(slice?.data), 'last words')
  assert.deepEqual(await world.store.logs.stat(run.run_id), { size: 10, complete: true })
  await other.handle(next)
  await world.over(next)
})

test('rule 4: a worker that is quicker than the API says user_message itself, and it is there once', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  world.worker().consume()
  const api = createScriptedProcess()
  t.after(() => api.bury())
  const asleep = api.sleepAt('before', appends('user_message'))
  const asked = newRunOf()
  const accepted = acceptRun(scriptedStore(world.store, api), asked, (run) => world.queue.enqueue(run))
  await asleep
  const over = world.over(asked as never)
  assert.equal((await over).data.cause, 'completed')
  api.wake()
  const result = await accepted
  assert.deepEqual([result.outcome, result.outcome === 'accepted' && result.begins], ['accepted', 1])
  const log = await world.log(asked as never)
  assert.deepEqual(
    log.slice(0, 2).map(({ event_type }) => event_type),
    ['user_message', 'run_state'],
  )
  assert.equal(log.filter(({ event_type }) => event_type === 'user_message').length, 1)
})

test('a hint is given for a run that was stored, once, also where its announcement fails', async (t) => {
  const world = await openWorld(t, () => hangs)
  const hinted: [string, boolean][] = []
  const hint = async ({ run_id }: { run_id: string }, isNew: boolean) => void hinted.push([run_id, isNew])
  const events = { ...world.store.events, append: () => Promise.reject(new Error('scripted')) }
  const asked = newRunOf({ idempotency_key: 'k', idempotency_hash: 'h' })
  await assert.rejects(acceptRun({ ...world.store, events }, asked, hint), /scripted/)
  assert.deepEqual(hinted.splice(0), [[asked.run_id, true]])
  const again = await acceptRun(world.store, { ...asked, run_id: newRunOf().run_id }, hint)
  assert.equal(again.outcome, 'replayed')
  assert.deepEqual(hinted.splice(0), [[asked.run_id, false]])
  await acceptRun(world.store, newRunOf({ session_id: asked.session_id }), hint)
  assert.deepEqual(hinted, [], 'not for one that was refused')
})

test('a busy session stays busy while finish is not in the log', async (t) => {
  const world = await openWorld(t, () => hangs)
  const run = await world.generate()
  const { session_id, workspace_id } = run
  const other = await acceptRun(world.store, newRunOf({ session_id, workspace_id }))
  assert.equal(other.outcome, 'session_busy')
  const beside = await acceptRun(world.store, newRunOf({ workspace_id }))
  assert.equal(beside.outcome, 'workspace_busy')
})
