import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Ground, soon, startSteps } from './engine-bench.ts'

export const attests = (ground: () => Ground) => {
  test('what holds a container is said while it runs, and of nothing else', async () => {
    const { engine, newSpec } = ground()
    const spec = await newSpec()
    assert.equal(await engine.attest(spec), undefined)
    const { containerId } = await startSteps(ground(), engine, spec, [{ do: 'hang' }])
    assert.equal((await engine.attest(spec))?.containerId, containerId)
    await engine.stop(spec, 0)
    await engine.wait(spec, soon())
    assert.equal(await engine.attest(spec), undefined)
    await engine.remove(spec)
    assert.equal(await engine.attest(spec), undefined)
  })
}
