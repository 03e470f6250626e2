import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { SessionEvent } from '#contracts/events.ts'
import { checkRuns, ranOnce } from '../chaos/check.ts'
import { FIRST_COMMAND, promptOf } from '../chaos/paced-model.ts'
import { flowing, isDelta, isFinish, isStart, LIMIT, sharedWorld, type Watched, type World } from '../chaos/world.ts'
import { waitFor } from '../helpers.ts'
import { type Answer, postGenerate, stopRun } from './generate.ts'
import { framesOf } from './session-follower.ts'

/** The faults of another system of this design, each as it was found there. See baseline-faults.test.ts for those with a kill. */

const postTalk = ({ stack }: World, session: string, name: string, headers = {}): Promise<Response> =>
  postGenerate(stack.urls[0], { session_id: stack.sessionId(session), prompt: promptOf(name, FIRST_COMMAND) }, headers)

const containersOf = async ({ stack }: World, session: string): Promise<string[]> =>
  (await stack.containers()).flatMap(({ Id, Names, State }) =>
    Names.includes(`/mgx-agent-${stack.sessionId(session)}`) && State === 'running' ? [Id] : [],
  )

const allSucceeded = async (world: World, ...watched: readonly Watched[]): Promise<void> => {
  for (const each of watched) each.release()
  for (const { result } of await checkRuns(world.stack, ...watched)) assert.equal(result.status, 'success')
}

const statusOfResult = async ({ stack }: World, { run }: Watched): Promise<number> =>
  (await fetch(`${stack.urls[0]}/api/agent/sessions/${run.session_id}/runs/${run.run_id}/result`)).status

describe('baseline: runs and their clients', { concurrency: true }, () => {
  const on = sharedWorld({ env: { WORKER_CONCURRENCY: '8' } })

  test(
    '4.1 second and later runs of one worker: each is recorded as the success that it was',
    LIMIT,
    on(async (world) => {
      for (const name of ['one', 'two', 'three']) await allSucceeded(world, await world.ask(name))
    }),
  )

  test(
    'c: two generates at once: one is accepted, the other is told of it; one container, one prompt, each prompt answered or refused',
    LIMIT,
    on(async (world) => {
      const names = ['prompt 1', 'prompt 2']
      const answers = await Promise.all(names.map((name) => postTalk(world, 'c', name)))
      assert.deepEqual(answers.map(({ status }) => status).sort(), [202, 409])
      const winner = answers.findIndex(({ status }) => status === 202)
      const run = (await answers[winner]?.json()) as Answer
      const refused = (await answers[1 - winner]?.json()) as { code: string; run_id: string }
      assert.deepEqual([refused.code, refused.run_id], ['SESSION_BUSY', run.run_id])
      const prompt = promptOf(names[winner] ?? '', FIRST_COMMAND)
      const [first, second] = [world.watch(run, prompt), world.watch(run, prompt)]
      await first.talking()
      assert.equal((await containersOf(world, 'c')).length, 1)
      await allSucceeded(world, first, second)
      const asked = first.client.events.filter(({ event_type }) => event_type === 'user_message')
      assert.deepEqual(
        asked.map((event) => event.event_type === 'user_message' && event.data.content),
        [prompt],
      )
      await ranOnce(world.stack, first)
    }),
  )

  test(
    'c2: a second generate in the middle of a run leaves it alone: same container, and both clients see its end',
    LIMIT,
    on(async (world) => {
      const first = await world.ask('c2')
      await first.talking()
      const before = await containersOf(world, 'c2')
      const busy = await postTalk(world, 'c2', 'something else')
      assert.equal(busy.status, 409)
      assert.match(await busy.text(), new RegExp(`"SESSION_BUSY".*${first.run.run_id}`))
      const neighbour = await postGenerate(world.stack.urls[0], {
        session_id: world.stack.sessionId('c2-neighbour'),
        workspace_id: world.stack.sessionId('c2'),
        prompt: 'the same workspace',
      })
      assert.equal(neighbour.status, 409)
      assert.match(await neighbour.text(), /"WORKSPACE_BUSY"/)
      const second = world.watch(first.run, first.prompt)
      await flowing(first)
      assert.deepEqual(await containersOf(world, 'c2'), before)
      assert.equal(before.length, 1)
      await allSucceeded(world, first, second)
    }),
  )

  test(
    'second turn: its stream and its result are its own, not those of the first',
    LIMIT,
    on(async (world) => {
      const first = await world.ask('turns')
      await allSucceeded(world, first)
      const response = await postTalk(world, 'turns', 'turn two', { accept: 'text/event-stream' })
      assert.equal(response.status, 200)
      const live = Array.fromAsync(framesOf(response.body ?? new ReadableStream()))
      const run = await waitFor(async () => {
        const runs = await world.stack.db
          .collection<Answer>('runs')
          .find({ session_id: first.run.session_id })
          .toArray()
        return runs.find(({ run_id }) => run_id !== first.run.run_id)
      })
      const { session_id, run_id } = run
      const events_url = `/api/agent/sessions/${session_id}/events?run_id=${run_id}`
      const second = world.watch({ session_id, run_id, events_url }, promptOf('turn two', FIRST_COMMAND))
      await second.talking()
      assert.equal(await statusOfResult(world, second), 202, 'it is not over because the first one is')
      await allSucceeded(world, second)
      assert.deepEqual(
        (await live).map(({ data }) => data),
        second.client.frames.map(({ data }) => data),
      )
      await ranOnce(world.stack, first, second)
    }),
  )

  test(
    'd: a client that comes back with Last-Event-ID gets what is behind it, once, and the finish',
    LIMIT,
    on(async (world) => {
      const watched = await world.ask('d')
      await watched.talking()
      for (let cut = 0; cut < 3; cut++) {
        await flowing(watched, 5)
        watched.client.cut()
      }
      await flowing(watched, 5)
      const last = watched.client.frames.at(-5)?.id ?? 0
      const url = `${world.stack.urls[0]}${watched.run.events_url}`
      const response = await fetch(url, { headers: { 'last-event-id': String(last) } })
      const rest = Array.fromAsync(framesOf(response.body ?? new ReadableStream()))
      await allSucceeded(world, watched)
      assert.deepEqual(
        (await rest).map(({ id }) => id),
        watched.client.frames.map(({ id }) => id).filter((id) => id > last),
      )
      assert.equal((await rest).at(-1)?.event, 'finish')
      assert.ok(watched.client.connections >= 4)
    }),
  )

  const isWord = (event: SessionEvent) => event.event_type === 'message_complete' && event.data.content !== ''

  test(
    'stop mid-run: what was said is kept, and the run ends as cancelled for everybody',
    LIMIT,
    on(async (world) => {
      const watched = await world.ask('stopped')
      await flowing(watched, 3)
      assert.equal((await stopRun(world.stack.urls[0], watched.run)).status, 202)
      const [over] = await checkRuns(world.stack, watched)
      assert.deepEqual([over?.result.status, over?.result.cause], ['cancelled', 'cancelled'])
      assert.equal(over?.log.filter(isWord).length, 1, 'the message is kept')
      const ended = over?.log.find(({ event_type }) => event_type === 'agent_end')
      assert.equal(ended?.event_type === 'agent_end' && ended.data.status, 'cancelled')
      assert.equal((await stopRun(world.stack.urls[0], watched.run)).status, 202, 'asked again: the same answer')
    }),
  )

  test(
    'stop during container start: the model is never asked',
    LIMIT,
    on(async (world) => {
      const watched = await world.ask('stopped-early')
      assert.equal((await stopRun(world.stack.urls[0], watched.run)).status, 202)
      const [over] = await checkRuns(world.stack, watched)
      assert.equal(over?.result.cause, 'cancelled')
      assert.equal(over?.log.some(isDelta), false)
      assert.ok((over?.log.filter(isStart).length ?? 0) <= 1)
      assert.equal(world.model.asked(watched.prompt), 0)
    }),
  )

  test(
    'agent_end does not end a stream: the finish behind it comes on the same connection',
    LIMIT,
    on(async (world) => {
      const watched = await world.ask('to-the-end')
      await watched.talking()
      watched.release()
      await watched.client.until('the finish', isFinish)
      assert.equal(watched.client.connections, 1)
      assert.deepEqual(
        watched.client.events.slice(-2).map(({ event_type }) => event_type),
        ['agent_end', 'finish'],
      )
      await allSucceeded(world, watched)
    }),
  )
})
