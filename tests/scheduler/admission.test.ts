import assert from 'node:assert/strict'
import { test } from 'node:test'
import { admit, type Limits } from '#scheduler/admission.ts'
import { placesOf } from '#scheduler/places.ts'
import type { WorkerConfig } from '#scheduler/worker-context.ts'
import type { ActiveRun } from '#store/run-line.ts'

const LIMITS: Limits = { engineId: 'here', need: 10, warm: 0 }

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
  limits: Partial<Limits> = {},
  served: ReadonlyMap<string, number> = new Map(),
) => admit(waiting, runs, served, { ...LIMITS, ...limits }).tenants

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
  const limited = admit(['a', 'b'], runs, new Map(), { ...LIMITS, running: 4, runningPerTenant: 2 })
  for (let n = 0; n < 20; n++) {
    const { permit, tenant_permit } = limited.take('a')
    assert.ok(permit === 1 || permit === 3)
    assert.equal(tenant_permit, 0)
  }
  assert.deepEqual(admit(['a'], [], new Map(), LIMITS).take('a'), { memory_bytes: 10 })
})

test('memory: what the containers of this engine may have, also those whose removal is owed, and the warm ones', () => {
  const runs = [
    active('a', { memory_bytes: 30 }),
    active('a', { state: 'finished', memory_bytes: 20 }),
    active('a', { engine_id: 'there', memory_bytes: 1_000 }),
  ]
  assert.deepEqual(tenantsOf(['a'], runs, { memory: 60 }), ['a'])
  assert.deepEqual(tenantsOf(['a'], runs, { memory: 59 }), [])
  assert.deepEqual(tenantsOf(['a'], runs, { memory: 65, warm: 5 }), ['a'])
  assert.deepEqual(tenantsOf(['a'], runs, { memory: 64, warm: 5 }), [])
  assert.deepEqual(tenantsOf(['a'], [], { memory: 10, warm: 5 }), ['a'], 'a first run always fits')
})

test('a worker has no more places than containers fit into its memory, and one at least', () => {
  const places = (memoryBytes?: number) =>
    placesOf({ concurrency: 4, limits: { memoryBytes: 10 }, ...(memoryBytes && { memoryBytes }) } as WorkerConfig)
  assert.deepEqual([places(), places(100), places(39), places(9)], [4, 4, 3, 1])
})
