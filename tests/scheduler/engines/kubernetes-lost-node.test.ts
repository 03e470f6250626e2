import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { openGround, soon, startSteps } from '../../conformance/engine-bench.ts'
import { noCluster, openKubernetesBench } from './kubernetes-bench.ts'

const exec = promisify(execFile)

/** Commands that end the kubelet of the cluster's only node, and bring it back. */
const { MGX_TEST_NODE_DOWN: down = '', MGX_TEST_NODE_UP: up = '' } = process.env

const cannot = down === '' || up === '' ? 'MGX_TEST_NODE_DOWN and MGX_TEST_NODE_UP are not set' : false

test('kubernetes: a node that does not answer: its pod is struck off, and nothing is proven', {
  skip: noCluster || cannot,
  timeout: 180_000,
}, async () => {
  await using ground = await openGround(openKubernetesBench)
  const { engine } = ground
  const spec = await ground.newSpec()
  await startSteps(ground, engine, spec, [{ do: 'onTerm', code: 0 }, { do: 'hang' }])
  await exec('sh', ['-c', down])
  try {
    await engine.stop(spec, 1000)
    const { reason, unproven, detail = '' } = await engine.wait(spec, soon())
    assert.deepEqual([reason, unproven], ['lost', true])
    assert.match(detail, /its node \S+ does not answer/)
    await engine.remove(spec)
    assert.equal(await engine.find(spec), undefined)
  } finally {
    await exec('sh', ['-c', up])
  }
  // The node is well again: the next run is a run like any other.
  const next = await ground.newSpec()
  await startSteps(ground, engine, next, [{ do: 'exit', code: 4 }])
  assert.deepEqual(await engine.wait(next, AbortSignal.timeout(120_000)), { code: 4, reason: 'exited' })
})
