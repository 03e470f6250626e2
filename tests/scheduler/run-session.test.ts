import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { test } from 'node:test'
import { cancelRun } from '#store/cancel-run.ts'
import { agent, gate } from '../fakes/scripted-agent.ts'
import { exits, hangs, ignoresTerm, runsOutOfMemory } from '../fakes/scripted-runners.ts'
import { startFailure } from '../fakes/scripted-world.ts'
import { waitFor } from '../helpers.ts'
import { openWorld } from './world.ts'

test('a run that goes well: its events in order, its result, nothing left behind', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  world.worker().consume()
  const run = await world.generate()
  await world.over(run)
  const said = (await world.log(run)).map((event) =>
    event.event_type === 'run_state' ? event.data.state : event.event_type,
  )
  assert.deepEqual(
    said.filter((what) => what !== 'running'),
    ['user_message', 'queued', 'starting', 'agent_start', 'tool_start', 'tool_end', 'agent_end', 'finish'],
  )
  const { result, exit, container_gone } = await world.run(run)
  assert.deepEqual(
    { ...result, elapsed_seconds: 0 },
    {
      session_id: run.session_id,
      run_id: run.run_id,
      status: 'success',
      cause: 'completed',
      elapsed_seconds: 0,
      container_exit_code: 0,
    },
  )
  assert.deepEqual([exit, container_gone], [{ code: 0, reason: 'exited' }, true])
  const { outcome } = world.queue.outcomes[0] ?? {}
  assert.deepEqual(outcome, { kind: 'done', result })
})

const ENDS = {
  'exit 137': [exits(137), 'container_exited', 'Container exited with code 137 without FINISH event'],
  'exit 0': [exits(0), 'container_exited', 'Container exited with code 0 without FINISH event'],
  'out of memory': [runsOutOfMemory, 'oom_killed', 'Container exited with code 137 without FINISH event'],
} as const

for (const [what, [runner, cause, error]] of Object.entries(ENDS)) {
  test(`a container that ends without finish: ${what} → ${cause}`, async (t) => {
    const world = await openWorld(t, () => runner)
    world.worker().consume()
    const run = await world.generate()
    const finish = await world.over(run)
    assert.deepEqual([finish.data.status, finish.data.cause, finish.data.error], ['failed', cause, error])
    assert.equal((await world.run(run)).result?.container_exit_code, finish.data.exit_code)
  })
}

test("a child's OOM does not fail a run: not with exit code 0, not when the runner wrote its finish", async (t) => {
  const world = await openWorld(t, ({ events }) => async (self) => {
    await agent(events)(self)
    return 'oom' as const
  })
  world.worker({ deaf: true }).consume()
  const run = await world.generate()
  assert.equal((await world.over(run)).data.cause, 'completed')
  const other = await openWorld(t, () => hangs)
  other.worker().consume()
  const second = await other.generate()
  await other.event(second, 'running')
  other.engine.box(second.run_id)?.end(0, true)
  assert.equal((await other.over(second)).data.cause, 'container_exited')
})

test('the deadline ends a run with the text that the documents fix, TERM, grace, KILL', async (t) => {
  const world = await openWorld(t, () => ignoresTerm)
  world.worker({ config: { taskTimeoutSeconds: 1 } }).consume()
  const run = await world.generate()
  const finish = await world.over(run)
  assert.deepEqual([finish.data.status, finish.data.error], ['timeout', 'Agent task timeout after 1 seconds'])
  assert.deepEqual((await world.run(run)).exit, { code: 137, reason: 'killed' })
})

test('the deadline is stored, absolute, and an adopter adds nothing to it', async (t) => {
  const world = await openWorld(t, () => hangs)
  const [first, second] = [world.worker(), world.worker()]
  first.consume()
  const run = await world.generate({ options: { timeout_seconds: 2 } })
  await world.event(run, 'running')
  const { deadline_at, started_at } = await world.run(run)
  assert.equal(deadline_at?.getTime(), (started_at?.getTime() ?? 0) + 2000)
  first.die()
  await world.forget(run)
  await second.handle(run)
  assert.equal((await world.over(run)).data.cause, 'timeout')
  assert.deepEqual((await world.run(run)).deadline_at, deadline_at)
})

test('a run adopted behind its deadline ends at once', async (t) => {
  const world = await openWorld(t, () => hangs)
  const [first, second] = [world.worker(), world.worker()]
  first.consume()
  const run = await world.generate()
  await world.event(run, 'running')
  first.die()
  const past = { deadline_at: new Date(0), seen_at: new Date(0) }
  await world.store.runs.transition(run.run_id, { attempt: 1, from: ['running'] }, past)
  await second.handle(run)
  assert.equal((await world.over(run)).data.error, 'Agent task timeout after 1800 seconds')
})

test('stop: TERM is enough for a runner that heeds it; what it closed is not closed twice', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: held.hook }))
  world.worker().consume()
  const run = await world.generate()
  await held.reached
  await cancelRun(world.store, await world.run(run), 'api')
  const finish = await world.over(run)
  assert.deepEqual([finish.data.status, finish.data.synthetic, finish.data.exit_code], ['cancelled', true, 143])
})

test('a runner that wrote finish and stays is stopped, and the run has its success', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events, { afterFinish: () => new Promise(() => {}) }))
  world.worker().consume()
  const run = await world.generate()
  assert.equal((await world.over(run)).data.cause, 'completed')
})

test('each way an engine can fail to start is the typed cause of the run, with the remedy', async (t) => {
  for (const failure of ['image_missing', 'start_failed', 'workspace_unavailable', 'engine_unavailable'] as const) {
    const world = await openWorld(t, () => hangs, {
      beforeStart() {
        throw startFailure(failure)
      },
    })
    world.worker().consume()
    const run = await world.generate()
    const finish = await world.over(run)
    assert.equal(finish.data.cause, failure)
    assert.equal(
      finish.data.error,
      `Failed to create or monitor agent container: scripted: ${failure}. It is scripted: change the script.`,
    )
  }
})

test('a workspace root that is missing is said so, and is not made, in both channels', async (t) => {
  for (const channel of [{ kind: 'gateway' } as const, undefined]) {
    const world = await openWorld(t, () => hangs)
    await rm(world.root, { recursive: true })
    world.worker({ config: { ...(channel && { channel }) } }).consume()
    const run = await world.generate()
    const finish = await world.over(run)
    assert.equal(finish.data.cause, 'workspace_unavailable')
    assert.match(finish.data.error ?? '', /workspace root .* does not exist.*WORKSPACES_ROOT/)
  }
})

test('a gateway that cannot listen ends the run with its reason', async (t) => {
  const world = await openWorld(t, () => hangs)
  const gateway = { serve: () => Promise.reject(new Error('EACCES: scripted')) }
  world.worker({ gateway, config: { channel: { kind: 'gateway' } } }).consume()
  const run = await world.generate()
  const finish = await world.over(run)
  assert.equal(finish.data.cause, 'start_failed')
  assert.match(finish.data.error ?? '', /EACCES: scripted/)
})

test('a slot whose gateway cannot listen is given up, and its run served where a cold start is', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  let refusals = 1
  const gateway = {
    async serve() {
      if (refusals-- > 0) throw new Error('EADDRINUSE: scripted')
      return { async [Symbol.asyncDispose]() {} }
    },
  }
  const worker = world.worker({ gateway })
  const pool = await worker.warm(1)
  worker.consume()
  const run = await world.generate()
  assert.equal((await world.over(run)).data.cause, 'completed')
  assert.deepEqual([pool.stats().hits, pool.stats().misses], [0, { handoff_failed: 1 }])
})

test('the gateway is served from before the start until the container is gone, and knows the token', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const served: string[] = []
  const gateway = {
    async serve(run: { run_id: string; token_hash?: string }) {
      assert(run.token_hash)
      served.push(`open, ${world.engine.boxes.length} containers made`)
      return {
        async [Symbol.asyncDispose]() {
          served.push(`closed, ${world.engine.box(run.run_id) ? 'container there' : 'container gone'}`)
        },
      }
    },
  }
  world.worker({ gateway }).consume()
  const run = await world.generate()
  await world.over(run)
  await waitFor(() => served.length === 2)
  assert.deepEqual(served, ['open, 0 containers made', 'closed, container gone'])
})
