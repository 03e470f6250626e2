import assert from 'node:assert/strict'
import { test } from 'node:test'
import { admit, type Limits } from '#scheduler/admission.ts'
import { placesOf } from '#scheduler/places.ts'
import type { WorkerConfig } from '#scheduler/worker-context.ts'
import type { ActiveRun } from '#store/run-line.ts'

const active = (tenant_id: string, of: Partial<ActiveRun> = {}): ActiveRun => ({
  run_id: `${tenant_id}-${Math.random()}`,
  tenant_id,
  state: 'running',
  engine_id: 'here',
  ...of,
})

const tenantsOf = (
  waiting: readonly string[],
  runs: readonly ActiveRun[],
  limits: Limits = {},
  served: ReadonlyMap<string, number> = new Map(),
) => admit(waiting, runs, served, limits).tenants

test('who has the fewest runs at work comes first, then who was never served, then who was served longest ago', () => {
  const runs = [active('a'), active('a'), active('b')]
  assert.deepEqual(tenantsOf(['a', 'b', 'c'], runs), ['c', 'b', 'a'])
  const served = new Map([
    ['a', 2],
    ['b', 1],
  ])
  assert.deepEqual(tenantsOf(['a', 'b', 'c'], [], {}, served), ['c', 'b', 'a'])
})

test('the limit of the installation counts every run at work, and none that is over or only being ended', () => {
  const over = active('a', { state: 'finished' })
  const { engine_id: _, ...ended } = active('a')
  assert.deepEqual(tenantsOf(['a'], [active('b'), over, ended], { running: 2 }), ['a'])
  assert.deepEqual(tenantsOf(['a'], [active('b'), active('c', { engine_id: 'there' })], { running: 2 }), [])
})

test('a tenant at its limit waits, the others do not', () => {
  assert.deepEqual(tenantsOf(['a', 'b'], [active('a'), active('a')], { runningPerTenant: 2 }), ['b'])
})

test('permits are numbers below the limit that nobody holds, and only where there is a limit', () => {
  const runs = [active('a', { permit: 0, tenant_permit: 1 }), active('b', { permit: 2, tenant_permit: 0 })]
  const limited = admit(['a', 'b'], runs, new Map(), { running: 4, runningPerTenant: 2 })
  for (let n = 0; n < 20; n++) {
    const { permit, tenant_permit } = limited.take('a')
    assert.ok(permit === 1 || permit === 3)
    assert.equal(tenant_permit, 0)
  }
  assert.deepEqual(admit(['a'], [], new Map(), {}).take('a'), {})
})

test('a worker has no more places than containers fit into its memory, and one at least', () => {
  const places = (memoryBytes?: number) =>
    placesOf({ concurrency: 4, limits: { memoryBytes: 10 }, ...(memoryBytes && { memoryBytes }) } as WorkerConfig)
  assert.deepEqual([places(), places(100), places(39), places(9)], [4, 4, 3, 1])
})
