import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { waitFor } from '../helpers.ts'
import { assertLost, type Ground, leaveFile, readLogs, rejectsWith, soon, startSteps } from './engine-bench.ts'

const LONG = 600_000

const lines = (text: string): string[] => text.split('\n').sort()

const readReady = (workspace: string): Promise<boolean> =>
  waitFor(() => readFile(join(workspace, 'ready')).then(() => true), { what: 'the runner' })

export const startAndEnd = (ground: () => Ground) => {
  test('a run from start to removal', async () => {
    const { engine, newSpec } = ground()
    const spec = await newSpec()
    const { containerId, adopted } = await startSteps(ground(), engine, spec, [
      { do: 'printError', text: 'to stderr' },
      { do: 'write', file: 'made.txt', text: 'by the agent' },
      { do: 'awaitEndOfInput' },
      { do: 'exit', code: 3 },
    ])
    assert.equal(adopted, false)
    assert.deepEqual(await engine.wait(spec, soon()), { code: 3, reason: 'exited' })
    // Two pipes: which comes first is nobody's promise.
    assert.deepEqual(lines(await readLogs(engine, spec)), lines(`I am ${containerId}\nto stderr\nend of input\n`))
    assert.equal(await readFile(join(spec.workspace.path, 'made.txt'), 'utf8'), 'by the agent')

    const found = await engine.find(spec)
    const { session_id, run_id, workspace_id } = spec
    assert.ok(found && Math.abs(found.createdAt.getTime() - Date.now()) < LONG)
    const { createdAt: _, ...rest } = found
    assert.deepEqual(rest, { containerId, session_id, run_id, workspace_id, running: false, started: true })
    assert.deepEqual(
      (await engine.list()).filter((info) => info.run_id === run_id),
      [found],
    )

    await engine.remove(spec)
    await engine.remove(spec)
    assert.equal(await engine.find(spec), undefined)
    assertLost(await engine.wait(spec, soon()))
    assert.equal(await readLogs(engine, spec), '')
  })

  for (const [code, reason] of [
    [0, 'exited'],
    [66, 'exited'],
    [137, 'killed'],
    [143, 'killed'],
    [255, 'exited'],
  ] as const) {
    test(`exit code ${code} is a value: ${reason}`, async () => {
      const { engine, newSpec } = ground()
      const spec = await newSpec()
      await startSteps(ground(), engine, spec, [{ do: 'exit', code }])
      assert.deepEqual(await engine.wait(spec, soon()), { code, reason })
      assert.deepEqual(await ground().reopen().wait(spec, soon()), { code, reason }, 'who comes late learns the same')
    })
  }

  test('who waits before the end learns of it, however many they are', async () => {
    const { engine, newSpec } = ground()
    const spec = await newSpec()
    await startSteps(ground(), engine, spec, [
      { do: 'awaitFile', file: 'go' },
      { do: 'exit', code: 7 },
    ])
    assert.equal((await engine.find(spec))?.running, true)
    const waiting = [engine.wait(spec, soon()), engine.wait(spec, soon()), ground().reopen().wait(spec, soon())]
    await leaveFile(spec, 'go')
    for (const exit of await Promise.all(waiting)) assert.deepEqual(exit, { code: 7, reason: 'exited' })
  })

  test('waiting is given up when its signal aborts, with its reason', async () => {
    const { engine, newSpec } = ground()
    const spec = await newSpec()
    await startSteps(ground(), engine, spec, [{ do: 'onTerm', code: 0 }, { do: 'hang' }])
    const stop = new AbortController()
    const waiting = engine.wait(spec, stop.signal)
    stop.abort(new Error('no longer'))
    await assert.rejects(waiting, /no longer/)
    await assert.rejects(engine.wait(spec, stop.signal), /no longer/)
    assert.equal((await engine.find(spec))?.running, true)
  })

  test('a job line of 300 KB reaches the runner whole', async () => {
    const { engine, newSpec } = ground()
    const spec = await newSpec()
    await startSteps(ground(), engine, spec, [{ do: 'measure', text: 'x'.repeat(300_000) }])
    assert.deepEqual(await engine.wait(spec, soon()), { code: 0, reason: 'exited' })
    assert.match(await readLogs(engine, spec), /^300000$/m)
  })

  test('a runner that leaves before it has read all does not hold the start up for ever', async () => {
    const { engine, newSpec, line } = ground()
    const spec = await newSpec()
    const ends = line([{ do: 'exit', code: 9 }])
    await engine.start(spec, () => ends + 'x'.repeat(300_000), soon())
    assert.deepEqual(await engine.wait(spec, soon()), { code: 9, reason: 'exited' })
  })

  test('runs of different sessions start side by side', async () => {
    const { engine, newSpec } = ground()
    const specs = await Promise.all([newSpec(), newSpec(), newSpec(), newSpec()])
    await Promise.all(specs.map((spec, code) => startSteps(ground(), engine, spec, [{ do: 'exit', code }])))
    const exits = await Promise.all(specs.map((spec) => engine.wait(spec, soon())))
    assert.deepEqual(
      exits.map((exit) => exit.code),
      [0, 1, 2, 3],
    )
  })
}

export const stopAndRemove = (ground: () => Ground) => {
  test('stop asks first: TERM, and the runner leaves in its own way', async () => {
    const { engine, newSpec } = ground()
    const spec = await newSpec()
    await startSteps(ground(), engine, spec, [
      { do: 'onTerm', code: 5 },
      { do: 'write', file: 'ready', text: '' },
      { do: 'hang' },
    ])
    await readReady(spec.workspace.path)
    await engine.stop(spec, 30_000)
    assert.equal((await engine.find(spec))?.running, false)
    assert.deepEqual(await engine.wait(spec, soon()), { code: 5, reason: 'exited' })
    await engine.stop(spec, 30_000)
    assert.deepEqual(await engine.wait(spec, soon()), { code: 5, reason: 'exited' })
  })

  test('stop kills who does not listen', async () => {
    const { engine, newSpec } = ground()
    const spec = await newSpec()
    await startSteps(ground(), engine, spec, [
      { do: 'onTerm', code: 'ignore' },
      { do: 'write', file: 'ready', text: '' },
      { do: 'hang' },
    ])
    await readReady(spec.workspace.path)
    await engine.stop(spec, 300)
    assert.deepEqual(await engine.wait(spec, soon()), { code: 137, reason: 'killed' })
  })

  test('remove ends and removes what still runs', async () => {
    const { engine, newSpec } = ground()
    const spec = await newSpec()
    await startSteps(ground(), engine, spec, [{ do: 'onTerm', code: 'ignore' }, { do: 'hang' }])
    await Promise.all([engine.remove(spec), engine.remove(spec), ground().reopen().remove(spec)])
    assert.equal(await engine.find(spec), undefined)
  })

  test('remove with a container id removes that very one only', async () => {
    const { engine, newSpec } = ground()
    const spec = await newSpec()
    const { containerId } = await startSteps(ground(), engine, spec, [{ do: 'onTerm', code: 0 }, { do: 'hang' }])
    await engine.remove(spec, `${containerId.slice(0, -1)}_`)
    assert.equal((await engine.find(spec))?.running, true)
    await engine.remove(spec, containerId)
    assert.equal(await engine.find(spec), undefined)
  })

  test('unknown runs: nothing to find, to read, to stop or to remove', async () => {
    const { engine, newSpec } = ground()
    const spec = await newSpec()
    assert.equal(await engine.find(spec), undefined)
    assert.equal(await readLogs(engine, spec), '')
    assertLost(await engine.wait(spec, soon()))
    await engine.stop(spec, 1000)
    await engine.remove(spec)
    await engine.remove(spec, 'nobody')
  })

  test('a start that fails has a cause and a remedy, and leaves nothing', async () => {
    const { engine, newSpec, spoil } = ground()
    const good = await newSpec()
    const { spec, failure } = spoil(good)
    await rejectsWith(failure, startSteps(ground(), engine, spec, []))
    assert.equal(await engine.find(spec), undefined)
    await startSteps(ground(), engine, good, [])
    assert.deepEqual(await engine.wait(good, soon()), { code: 0, reason: 'exited' })
  })
}
