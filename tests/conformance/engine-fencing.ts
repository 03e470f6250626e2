import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newRunId } from '#contracts/ids.ts'
import type { SandboxSpec } from '#scheduler/engines/engine.ts'
import { sleep } from '../helpers.ts'
import { assertLost, type Ground, leaveFile, readLogs, rejectsWith, soon, startSteps } from './engine-bench.ts'
import type { Step } from './shell-runner.ts'

const LASTS: readonly Step[] = [{ do: 'onTerm', code: 0 }, { do: 'hang' }]

/** Long enough for an engine to have done what it must not do. */
const A_WHILE = 400

const nextRunOf = (spec: SandboxSpec): SandboxSpec => ({ ...spec, run_id: newRunId() })

export const adoption = (ground: () => Ground) => {
  test('the same run is adopted: nothing is started or told twice', async () => {
    const { engine, newSpec, reopen } = ground()
    const spec = await newSpec()
    const first = await startSteps(ground(), engine, spec, [
      { do: 'awaitFile', file: 'go' },
      { do: 'exit', code: 4 },
    ])
    const again = reopen()
    const jobLine = () => assert.fail('a job line was asked for')
    assert.deepEqual(await again.start(spec, jobLine, soon()), { ...first, adopted: true })
    assert.deepEqual((await again.find(spec))?.containerId, first.containerId)
    const waiting = again.wait(spec, soon())
    await leaveFile(spec, 'go')
    assert.deepEqual(await waiting, { code: 4, reason: 'exited' })
    assert.equal(await readLogs(again, spec), `I am ${first.containerId}\n`)
    assert.deepEqual(await engine.start(spec, jobLine, soon()), { ...first, adopted: true })
  })

  test('every worker of an engine knows it by the same id', async () => {
    const { engine, reopen } = ground()
    assert.equal(await reopen().engineId(), await engine.engineId())
  })
}

export const waitingForOthers = (ground: () => Ground) => {
  for (const what of ['session', 'workspace'] as const) {
    test(`a run waits until the other run's container on its ${what} is removed`, async () => {
      const { engine, newSpec } = ground()
      const first = await newSpec()
      const { session_id, workspace_id } = first
      const second = await newSpec(what === 'session' ? { session_id } : { workspace_id })
      await startSteps(ground(), engine, first, [])
      await engine.wait(first, soon())

      let started = false
      const starting = startSteps(ground(), ground().reopen(), second, []).finally(() => {
        started = true
      })
      await sleep(A_WHILE)
      assert.equal(started, false)
      await engine.remove(first)
      assert.equal((await starting).adopted, false)
      assert.deepEqual(await engine.wait(second, soon()), { code: 0, reason: 'exited' })
    })
  }

  test('waiting for another container ends with the signal, and leaves it and nothing else', async () => {
    const { engine, newSpec } = ground()
    const first = await newSpec()
    const { containerId } = await startSteps(ground(), engine, first, LASTS)
    const second = nextRunOf(first)
    const stop = new AbortController()
    const starting = startSteps(ground(), engine, second, [], stop.signal)
    setTimeout(() => stop.abort(new Error('given up')), A_WHILE)
    await assert.rejects(starting, /given up/)
    assert.equal(await engine.find(second), undefined)
    assert.equal((await engine.find(first))?.containerId, containerId)
    assert.equal((await engine.find(first))?.running, true)
  })

  test('an aborted signal starts nothing', async () => {
    const { engine, newSpec } = ground()
    const spec = await newSpec()
    await assert.rejects(startSteps(ground(), engine, spec, [], AbortSignal.abort(new Error('too late'))), /too late/)
    assert.equal(await engine.find(spec), undefined)
  })
}

export const fencing = (ground: () => Ground) => {
  test("a worker that slept touches nothing of the session's next run", async () => {
    const { engine, newSpec, reopen } = ground()
    const old = await newSpec()
    const { containerId: oldId } = await startSteps(ground(), engine, old, LASTS)
    await engine.remove(old)
    const next = nextRunOf(old)
    const { containerId } = await startSteps(ground(), reopen(), next, LASTS)

    await engine.stop(old, 100)
    await engine.remove(old)
    await engine.remove(old, oldId)
    await engine.remove(old, containerId)
    assert.equal(await engine.find(old), undefined)
    assert.equal(await readLogs(engine, old), '')
    assertLost(await engine.wait(old, soon()))

    assert.equal((await engine.find(next))?.containerId, containerId)
    assert.equal((await engine.find(next))?.running, true)
  })

  test('a wait that began with the old run ends with it, not with the next', async () => {
    const { engine, newSpec } = ground()
    const old = await newSpec()
    await startSteps(ground(), engine, old, LASTS)
    const waiting = engine.wait(old, soon())
    await engine.remove(old)
    const next = nextRunOf(old)
    await startSteps(ground(), engine, next, LASTS)
    assert.ok(['killed', 'lost'].includes((await waiting).reason))
    assert.equal((await engine.find(next))?.running, true)
  })
}

export const outages = (ground: () => Ground) => {
  test('out of reach: every call says so, and all is as before when it is back', async () => {
    const { engine, newSpec, outage } = ground()
    assert.ok(outage)
    const spec = await newSpec()
    const { containerId } = await startSteps(ground(), engine, spec, [
      { do: 'awaitFile', file: 'go' },
      { do: 'exit', code: 6 },
    ])
    const waiting = rejectsWith('engine_unavailable', engine.wait(spec, soon()))
    // Output that broke is read again from the first byte; or the engine itself goes on with it when it can.
    const read = readLogs(engine, spec).then(
      (text) => ({ text }),
      (error: unknown) => ({ error }),
    )
    await sleep(A_WHILE)
    await outage.begin()
    await waiting
    await rejectsWith('engine_unavailable', engine.check())
    await rejectsWith('engine_unavailable', engine.find(spec))
    await rejectsWith('engine_unavailable', engine.list())
    await rejectsWith('engine_unavailable', engine.stop(spec, 100))
    await rejectsWith('engine_unavailable', engine.remove(spec))
    await rejectsWith('engine_unavailable', startSteps(ground(), engine, await newSpec(), []))
    await outage.end()
    assert.equal((await engine.find(spec))?.containerId, containerId)
    await leaveFile(spec, 'go')
    assert.deepEqual(await engine.wait(spec, soon()), { code: 6, reason: 'exited' })
    const output = `I am ${containerId}\n`
    assert.equal(await readLogs(engine, spec), output)
    const outcome = await read
    if ('text' in outcome) assert.equal(outcome.text, output)
    else await rejectsWith('engine_unavailable', Promise.reject(outcome.error))
  })
}
