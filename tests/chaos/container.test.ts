import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { RESULT_TEXT } from '#contracts/run.ts'
import { checkPromises, type Over, ranOnce } from './check.ts'
import { runnerPid } from './runner-pid.ts'
import { flowing, inWorld, LIMIT, type Watched, type World } from './world.ts'

const containerOf = async ({ stack, document }: World, watched: Watched) => {
  const { container_id = '' } = await document(watched)
  return stack.docker.getContainer(container_id)
}

const KILLS: Readonly<Record<string, (world: World, watched: Watched) => Promise<unknown>>> = {
  container: async (world, watched) => (await containerOf(world, watched)).kill({ signal: 'SIGKILL' }),
  runner: async (world, watched) => process.kill(Number(await runnerPid(await containerOf(world, watched))), 'SIGKILL'),
}

/** It says what happened in the words that are promised, and keeps what the agent had said so far. */
const checkKilled = ({ result, log }: Over): void => {
  assert.equal(result.cause, 'container_exited')
  assert.equal(result.container_exit_code, 137)
  assert.equal(result.error, 'Container exited with code 137 without FINISH event')
  assert.equal(result.error, RESULT_TEXT.exitedWithoutFinish(137))
  const message = log.findLast((event) => event.event_type === 'message_complete')
  assert.match(message?.event_type === 'message_complete' ? message.data.content : '', /^word0 word1 /)
}

/** The session's next run starts at once, and its agent is told what was said before. */
const nextRun = async (world: World, name: string): Promise<Watched> => {
  const next = await world.ask(`${name} once more`, { session: name })
  await next.talking()
  next.release()
  return next
}

for (const channel of ['socket', 'direct'] as const) {
  describe(`a container in trouble, channel ${channel}`, { concurrency: true }, () => {
    test(
      'SIGKILL of the container and of its runner: container_exited, 137; the sessions go on',
      LIMIT,
      inWorld({ channel }, async (world) => {
        const names = Object.keys(KILLS)
        const killed = await Promise.all(names.map((name) => world.ask(name)))
        await Promise.all(killed.map((watched) => flowing(watched, 3)))
        await Promise.all(killed.map((watched, index) => KILLS[names[index] ?? '']?.(world, watched)))
        for (const watched of killed) await watched.client.done
        const next = await Promise.all(names.map((name) => nextRun(world, name)))
        const over = await checkPromises(world.stack, ...killed, ...next)
        for (const each of over.slice(0, names.length)) checkKilled(each)
        for (const each of over.slice(names.length)) assert.equal(each.result.cause, 'completed')
        await ranOnce(world.stack, ...killed, ...next)
      }),
    )

    test(
      'removed by hand: the run ends as it must, and the session goes on',
      LIMIT,
      inWorld({ channel }, async (world) => {
        const watched = await world.ask('removed')
        await watched.talking()
        await (await containerOf(world, watched)).remove({ force: true })
        await watched.client.done
        const next = await nextRun(world, 'removed')
        const [lost, after] = await checkPromises(world.stack, { ...watched, removed: true }, next)
        // Docker kills it first: who waits for it may still learn the exit code, or not.
        assert.match(lost?.result.cause ?? '', /^container_(lost|exited)$/)
        assert.equal(after?.result.cause, 'completed')
      }),
    )
  })
}
