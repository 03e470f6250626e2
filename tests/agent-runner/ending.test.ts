import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventIds, makeEvent } from '#contracts/events.ts'
import { waitFor } from '../helpers.ts'
import { begins, calls, says } from './scripted-model.ts'
import { checkLog, openWorld } from './world.ts'

test('TERM while a command runs: the command is killed, its call closed, agent_end written, finish left to the worker', async (t) => {
  const world = await openWorld(t, {
    replies: [calls([{ name: 'bash', args: { command: 'echo started; sleep 300' } }])],
  })
  const runner = world.start()
  await waitFor(async () => (await world.of('tool_output_delta')).length > 0)
  runner.child.kill('SIGTERM')
  assert.deepEqual(await runner.exited, { code: 143, signal: null })
  checkLog(await world.log(), { finished: false })
  const [end] = await world.of('tool_end')
  assert.equal(end?.data.status, 'aborted')
  assert.match(end?.data.output ?? '', /^started\n\(stopped: the run is being ended/)
  assert.equal((await world.of('agent_end'))[0]?.data.status, 'cancelled')
})

test('TERM while the model answers: what was said so far is closed as aborted', async (t) => {
  const world = await openWorld(t, { replies: [begins(['Let me ', 'think'], 'stall')] })
  const runner = world.start()
  await waitFor(async () => (await world.of('message_delta')).length > 0)
  runner.child.kill('SIGTERM')
  assert.equal((await runner.exited).code, 143)
  checkLog(await world.log(), { finished: false })
  const [message] = await world.of('message_complete')
  assert.deepEqual([message?.data.finish_reason, message?.data.content], ['aborted', 'Let me think'])
})

test('a run that others end in the log is stopped at its next word, without a signal', async (t) => {
  const wait = calls([{ name: 'bash', args: { command: 'while ! test -e go; do sleep 0.05; done' } }])
  const world = await openWorld(t, { replies: [wait, says('never said')] })
  const runner = world.start()
  await waitFor(async () => (await world.of('tool_start')).length > 0)
  const cancel = makeEvent(world.run, eventIds.cancelRequested(world.run.run_id), 'cancel_requested', {
    source: 'client',
  })
  await world.events.append(world.run.session_id, [cancel])
  const { writeFile } = await import('node:fs/promises')
  await writeFile(`${world.workspace}/go`, '')
  assert.equal((await runner.exited).code, 143)
  checkLog(await world.log(), { finished: false })
  assert.equal((await world.of('agent_end'))[0]?.data.status, 'cancelled')
})

test('rule 1: a runner that meets stopping before its agent_start just exits', async (t) => {
  const world = await openWorld(t, { replies: [says('never said')] })
  const { run } = world
  await world.events.append(run.session_id, [
    makeEvent(run, eventIds.stopping(run.run_id), 'run_state', { state: 'stopping', cause: 'cancelled' }),
  ])
  const before = (await world.log()).length
  assert.equal((await world.start().exited).code, 143)
  assert.equal((await world.log()).length, before)
  assert.equal(world.model.requests.length, 0)
})

test('rule 8: a runner that finds its agent_start from another container writes nothing and exits', async (t) => {
  const world = await openWorld(t, { replies: [begins(['first'], 'stall'), says('never asked')] })
  const first = world.start({ container_id: 'container-1' })
  await waitFor(async () => (await world.of('message_delta')).length > 0)
  const second = world.start({ container_id: 'container-2' })
  assert.equal((await second.exited).code, 143)
  assert.match(second.stderr(), /another container has it/)
  const starts = await world.of('agent_start')
  assert.deepEqual(
    starts.map(({ data }) => data.container_id),
    ['container-1'],
  )
  assert.equal(world.model.requests.length, 1)
  first.child.kill('SIGTERM')
  await first.exited
  checkLog(await world.log(), { finished: false })
})

test('rule 8: one word from another container is enough', async (t) => {
  const world = await openWorld(t, { replies: [says('never asked')] })
  const { run } = world
  const { prompt, model, max_steps, deadline } = world.job()
  await world.events.append(run.session_id, [
    makeEvent(run, eventIds.runner(run.run_id, 1), 'agent_start', {
      agent_name: 'mgx',
      framework: 'static',
      model,
      tier: 'primary',
      prompt,
      prompt_chars: prompt.length,
      tools: [],
      limits: { max_steps, deadline },
      container_id: 'container-1',
      runner_version: '0',
    }),
  ])
  const before = (await world.log()).length
  assert.equal((await world.start({ container_id: 'container-2' }).exited).code, 143)
  assert.equal((await world.log()).length, before)
  assert.equal(world.model.requests.length, 0)
})

test('a runner whose run was finished by others writes nothing behind it', async (t) => {
  const wait = calls([{ name: 'bash', args: { command: 'while ! test -e go; do sleep 0.05; done' } }])
  const world = await openWorld(t, { replies: [wait, says('never said')] })
  const { run } = world
  const runner = world.start()
  const [start] = await waitFor(async () => {
    const starts = await world.of('tool_start')
    return starts.length > 0 ? starts : undefined
  })
  await world.events.append(run.session_id, [
    makeEvent(run, eventIds.closeTool(run.run_id, start?.data.tool_call_id ?? ''), 'tool_end', {
      tool_call_id: start?.data.tool_call_id ?? '',
      tool_name: 'bash',
      status: 'aborted',
      output: '',
      output_bytes: 0,
      duration_ms: 1,
      last_in_batch: true,
    }),
    makeEvent(run, eventIds.finish(run.run_id), 'finish', { status: 'failed', cause: 'worker_lost', synthetic: true }),
  ])
  const { writeFile } = await import('node:fs/promises')
  await writeFile(`${world.workspace}/go`, '')
  assert.equal((await runner.exited).code, 143)
  checkLog(await world.log())
  assert.equal((await world.of('finish'))[0]?.data.synthetic, true)
})
