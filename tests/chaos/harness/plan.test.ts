import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { FAULT_KINDS, MANNERS, makePlan } from './plan.ts'
import { commandOf, readSettings } from './settings.ts'

const OPTIONS = { seed: 7, sessions: 40, durationMs: 60_000, kinds: FAULT_KINDS }

describe('the plan of a chaos run', () => {
  test('follows from its seed: the same twice, another with another', () => {
    assert.deepEqual(makePlan(OPTIONS), makePlan(OPTIONS))
    assert.notDeepEqual(makePlan(OPTIONS), makePlan({ ...OPTIONS, seed: 8 }))
  })

  test('sessions do not change when a fault is left out', () => {
    const fewer = makePlan({ ...OPTIONS, kinds: ['redis.kill'] })
    assert.deepEqual(fewer.sessions, makePlan(OPTIONS).sessions)
    assert.deepEqual([...new Set(fewer.faults.map(({ kind }) => kind))], ['redis.kill'])
  })

  test('has every fault, and every manner where there are sessions enough', () => {
    const { faults, sessions } = makePlan({ ...OPTIONS, sessions: 200 })
    assert.deepEqual([...new Set(faults.map(({ kind }) => kind))].sort(), [...FAULT_KINDS].sort())
    const manners = sessions.flatMap(({ runs }) => runs.map(({ manner }) => manner))
    assert.deepEqual([...new Set(manners)].sort(), [...MANNERS].sort())
    assert.ok(sessions.some(({ crowd }) => crowd))
    assert.ok(sessions.some(({ workspaceOf }) => workspaceOf !== undefined))
  })

  test('a workspace is shared within a channel only', () => {
    const { sessions } = makePlan({ ...OPTIONS, sessions: 300 })
    for (const { channel, workspaceOf } of sessions) {
      if (workspaceOf === undefined) continue
      assert.equal(sessions.find(({ name }) => name === workspaceOf)?.channel, channel)
    }
  })
})

describe('the settings of a chaos run', () => {
  test('what is printed to repeat a run gives the same settings', () => {
    const settings = readSettings({ SESSIONS: '12', FAULTS: 'redis,worker.kill', WITH: 'A=1,B=x=y' }, () => 99)
    assert.deepEqual(settings.kinds, ['worker.kill', 'redis.kill', 'redis.pause', 'redis.flush'])
    assert.deepEqual(settings.env, { A: '1', B: 'x=y' })
    const words = commandOf(settings).split(' ').slice(2)
    const env = Object.fromEntries(
      words.map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]),
    )
    assert.deepEqual(
      readSettings(env, () => 1),
      settings,
    )
  })

  test('nonsense is refused with the rule', () => {
    assert.throws(() => readSettings({ SESSIONS: '0' }, () => 1), /SESSIONS=0: must be a whole number from 1/)
    assert.throws(() => readSettings({ FAULTS: 'meteor' }, () => 1), /no such fault: meteor\. There are worker\.kill/)
    assert.throws(() => readSettings({ WITH: 'nothing' }, () => 1), /must be NAME=value/)
  })
})
