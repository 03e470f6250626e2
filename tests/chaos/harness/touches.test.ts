import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Run } from '#contracts/run.ts'
import type { Struck } from './inflict.ts'
import { RUN } from './sound-evidence.ts'
import { createTouches } from './touches.ts'

const SINCE = RUN.created_at.getTime()
const FAULT: Struck = {
  ...{ kind: 'container.kill', channel: 'gateway', after: 0, delayMs: 0, lastsMs: 0, pick: 0 },
  ...{ at: 1_000, until: 2_000, what: 'it', runs: [] },
}

const touched = (fault: Partial<Struck>, liveRestore = false, times = 1) =>
  createTouches({ struck: Array(times).fill({ ...FAULT, ...fault }), channel: 'gateway', since: SINCE, liveRestore })

describe('what a fault means for a run', () => {
  test('one that hit its container explains another end', () => {
    assert.ok(touched({ runs: [RUN.run_id] }).isTouched(RUN))
    assert.ok(!touched({ runs: ['another'] }).isTouched(RUN))
  })

  test('the death of Docker does, during its life, unless containers outlive it', () => {
    assert.ok(touched({ kind: 'dockerd.kill' }).isTouched(RUN))
    assert.ok(!touched({ kind: 'dockerd.kill' }, true).isTouched(RUN))
    assert.ok(!touched({ kind: 'dockerd.kill', at: 9_000, until: 9_000 }).isTouched(RUN))
  })

  test('a full disk does in its own house only; a worker or a service never does', () => {
    assert.ok(touched({ kind: 'disk.fill' }).isTouched(RUN))
    assert.ok(!touched({ kind: 'disk.fill', channel: 'direct' }).isTouched(RUN))
    for (const kind of ['worker.kill', 'mongod.kill', 'redis.kill', 'power.cut'] as const) {
      assert.ok(!touched({ kind }).isTouched(RUN), kind)
    }
  })

  test('a model out of reach explains that the agent failed, and nothing else', () => {
    const failed = { ...RUN, result: { ...RUN.result, cause: 'agent_error' } } as Run
    assert.ok(touched({ kind: 'model.cut' }).isTouched(failed))
    assert.ok(!touched({ kind: 'model.cut', channel: 'direct' }).isTouched(failed))
    assert.ok(!touched({ kind: 'model.cut' }).isTouched(RUN))
  })

  test('a Docker that came back without sight of a container keeps no exit of it', () => {
    const { exit: _, ...unseen } = RUN
    const kill = { kind: 'dockerd.kill' } as const
    assert.equal(touched(kill, true).excuse(unseen).exit, true)
    assert.equal(touched(kill, true).excuse(RUN).exit, false)
    const after = { ...unseen, finished_at: new Date(SINCE + 2_500) }
    const meanwhile = { ...unseen, finished_at: new Date(SINCE + 1_500) }
    assert.equal(touched(kill).excuse(after).exit, false, 'the Docker that came back ended it, and saw it end')
    assert.equal(touched(kill).excuse(meanwhile).exit, true, 'it ended while there was no Docker to see it')
    const before = { ...unseen, finished_at: new Date(SINCE + 900), seen_at: new Date(SINCE + 2_500) }
    assert.equal(touched(kill).excuse(before).exit, true, 'it said that it was done, and ended while there was none')
    const gone = { ...before, seen_at: new Date(SINCE + 950) }
    assert.equal(touched(kill).excuse(gone).exit, false, 'it was gone when Docker died')
    assert.equal(touched(kill, false, 2).excuse(after).exit, true, 'the one that ended it did not live to say so')
    assert.equal(touched(kill, false, 2).excuse(RUN).exit, false)
    assert.equal(touched({}, true).excuse(unseen).exit, false)
    assert.ok(!touched(kill, true).isTouched(unseen), 'and explains no other end by that')
    const later = { ...unseen, seen_at: new Date(SINCE + 60_000) }
    const late = { ...kill, at: 30_000, until: 40_000 }
    assert.equal(
      touched(late, true).excuse(later).exit,
      true,
      'it came after its finish, and before its container was gone',
    )
    assert.equal(touched(late, true).excuse({ ...later, seen_at: new Date(SINCE + 20_000) }).exit, false)
  })

  test('who removed it took its output and exit code along, who killed it did not', () => {
    const runs = [RUN.run_id]
    assert.deepEqual(touched({ kind: 'container.remove', runs }).excuse(RUN), { exit: true, output: true })
    assert.deepEqual(touched({ runs }).excuse(RUN), { exit: false, output: false })
  })
})
