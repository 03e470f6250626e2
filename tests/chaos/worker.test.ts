import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { checkPromises, ranOnce } from './check.ts'
import { flowing, inWorld, isDelta, isFinish, isStart, LIMIT, runs } from './world.ts'

describe('a worker is killed (SIGKILL) in the middle of a run', { concurrency: true }, () => {
  test(
    'gateway: another worker adopts it, and the run goes on in the same container',
    LIMIT,
    inWorld({ workers: 2 }, async (world) => {
      const watched = await world.ask('adopted')
      await watched.talking()
      const before = await world.document(watched)
      const { owner, others } = await world.ownerOf(watched)
      await owner.kill()
      await watched.client.until('the adoption', runs('adopted'))
      await flowing(watched)
      watched.release()
      const [over] = await checkPromises(world.stack, watched)
      assert.equal(over?.result.cause, 'completed')
      assert.equal(over?.run.container_id, before.container_id, 'one container')
      assert.equal(over?.log.filter(isStart).length, 1)
      assert.equal(over?.run.attempt, 2)
      assert.ok(over?.run.owner?.includes(`-${others[0]?.pid}-`))
      await ranOnce(world.stack, watched)
    }),
  )

  test(
    'direct: the run goes on without any worker, and the restarted one adopts it',
    LIMIT,
    inWorld({ channel: 'direct' }, async (world) => {
      const watched = await world.ask('alone')
      await watched.talking()
      const { owner } = await world.ownerOf(watched)
      await owner.kill()
      await flowing(watched, 20)
      await owner.restart()
      await watched.client.until('the adoption', runs('adopted'))
      await flowing(watched)
      watched.release()
      const [over] = await checkPromises(world.stack, watched)
      assert.equal(over?.result.cause, 'completed')
      assert.equal(world.model.asked(watched.prompt), 2, 'the model was not asked again')
      assert.ok(over?.log.some(isDelta))
      await ranOnce(world.stack, watched)
    }),
  )

  test(
    'every worker, three times in a row: the run is adopted each time',
    LIMIT,
    inWorld({ channel: 'direct' }, async (world) => {
      const watched = await world.ask('again')
      await watched.talking()
      for (const attempt of [2, 3]) {
        const { owner } = await world.ownerOf(watched)
        await owner.kill()
        await owner.restart()
        await watched.client.until(
          `attempt ${attempt}`,
          (event) => runs('adopted')(event) && event.event_type === 'run_state' && event.data.attempt === attempt,
        )
      }
      watched.release()
      const [over] = await checkPromises(world.stack, watched)
      assert.equal(over?.result.cause, 'completed')
      assert.equal(over?.run.attempt, 3)
      await ranOnce(world.stack, watched)
    }),
  )

  test(
    'with its container: the run ends as container_lost, and its work is not done twice; the session goes on',
    LIMIT,
    inWorld({}, async (world) => {
      const lost = await world.ask('lost')
      await lost.talking()
      const { container_id = '' } = await world.document(lost)
      const { owner } = await world.ownerOf(lost)
      await owner.kill()
      await world.stack.docker.getContainer(container_id).remove({ force: true })
      await owner.restart()
      await lost.client.until('the end', isFinish)
      const next = await world.ask('found', { session: 'lost' })
      await next.talking()
      next.release()
      const [over, after] = await checkPromises(world.stack, { ...lost, removed: true }, next)
      assert.equal(over?.result.cause, 'container_lost')
      assert.equal(after?.result.cause, 'completed')
      await ranOnce(world.stack, lost, next)
    }),
  )
})
