import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { chmod, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { newRunId } from '#contracts/ids.ts'
import { type Claim, writeClaim } from '#scheduler/claims.ts'
import type { SandboxSpec } from '#scheduler/engines/engine.ts'
import type { SlotSpec, WarmEngine, WarmSlot } from '#scheduler/engines/warm-engine.ts'
import { slotShared, slotWorkspace } from '#scheduler/slot-paths.ts'
import { makeSlot } from '#scheduler/slot-workspace.ts'
import { waitFor } from '../helpers.ts'
import { type Ground, readLogs, rejectsWith, soon } from './engine-bench.ts'
import type { Step } from './shell-runner.ts'

type Warm = { readonly warm: WarmEngine; readonly root: string; slotOf(spec: SandboxSpec): Promise<SlotSpec> }

const needs = (ground: Ground): Warm => {
  const { warm } = ground.engine
  const { slotsRoot: root } = ground
  assert.ok(warm && root)
  const slotOf = async (spec: SandboxSpec): Promise<SlotSpec> => {
    const { session_id: _s, run_id: _r, workspace_id: _w, tenant_id: _t, ...rest } = spec
    const slot = randomUUID()
    await makeSlot(root, slot, { v: 1, engine_id: 'engine', created_at: new Date().toISOString() })
    const path = slotShared(root, slot)
    return {
      ...rest,
      slot,
      name: `mgx-warm-${slot}`,
      channel: 'gateway',
      workspace: { path, hostPath: path },
      labels: {},
    }
  }
  return { warm, root, slotOf }
}

/** What the scheduler does: journal, workspace, line. */
const claim = async (ground: Ground, slot: WarmSlot, spec: SandboxSpec): Promise<void> => {
  const { root } = needs(ground)
  const { session_id, run_id, workspace_id, tenant_id } = spec
  const names = { session_id, run_id, workspace_id, tenant_id }
  const claimed_at = new Date().toISOString()
  const made: Claim = {
    v: 1,
    slot: slot.slot,
    engine_id: 'engine',
    container_id: slot.containerId,
    ...names,
    claimed_at,
  }
  await writeClaim(root, made)
  await mkdir(slotWorkspace(root, slot.slot))
  await chmod(slotWorkspace(root, slot.slot), 0o777)
}

const give = async (ground: Ground, slot: WarmSlot, spec: SandboxSpec, steps: readonly Step[]): Promise<void> => {
  await claim(ground, slot, spec)
  await slot.tell(ground.line([{ do: 'print', text: 'first words' }, ...steps]))
}

const ranFromSlot = async (ground: Ground): Promise<void> => {
  const { engine, newSpec } = ground
  const { warm, root, slotOf } = needs(ground)
  const spec = await newSpec()
  const slot = await warm.startSlot(await slotOf(spec), soon())
  assert.equal(slot.key, await warm.key(spec), 'what it was started with is what the run would be')
  assert.equal(await engine.find(spec), undefined)
  assert.ok(!(await engine.list()).some(({ containerId }) => containerId === slot.containerId))
  await give(ground, slot, spec, [
    { do: 'write', file: 'made.txt', text: 'by the agent' },
    { do: 'awaitEndOfInput' },
    { do: 'exit', code: 3 },
  ])
  assert.deepEqual(await ground.reopen().wait(spec, soon()), { code: 3, reason: 'exited' })
  assert.equal(await readLogs(engine, spec), 'first words\nend of input\n', 'nothing of before it had a run')
  assert.equal(await readFile(join(slotWorkspace(root, slot.slot), 'made.txt'), 'utf8'), 'by the agent')
  const found = await engine.find(spec)
  assert.deepEqual([found?.containerId, found?.slot, found?.started], [slot.containerId, slot.slot, true])
  assert.ok((await engine.list()).some(({ run_id }) => run_id === spec.run_id))
  await engine.remove(spec)
  assert.equal(await engine.find(spec), undefined)
  assert.ok(!(await warm.slots()).some((info) => info.slot === slot.slot))
}

const adoptedByAnother = async (ground: Ground): Promise<void> => {
  const { engine, newSpec, reopen } = ground
  const { warm, slotOf } = needs(ground)
  const spec = await newSpec()
  const slot = await warm.startSlot(await slotOf(spec), soon())
  await give(ground, slot, spec, [{ do: 'onTerm', code: 0 }, { do: 'hang' }])
  const other = reopen()
  const again = await other.start(spec, () => assert.fail('a job line was asked for'), soon())
  assert.deepEqual(again, { containerId: slot.containerId, adopted: true })
  const next = { ...spec, run_id: newRunId() }
  assert.equal(await warm.isFree(next), false, 'the next run of the session waits')
  assert.equal(await warm.isFree(await newSpec({ workspace_id: spec.workspace_id })), false, 'and of the workspace')
  assert.equal(await warm.isFree(spec), true)
  await engine.stop(next, 100)
  await engine.remove(next)
  assert.equal((await engine.find(spec))?.running, true, 'who means the next run touches nothing of this one')
  await other.stop(spec, 30_000)
  await other.remove(spec)
  assert.equal(await warm.isFree(next), true)
}

export const warmStarts = (ground: () => Ground) => {
  test('a container that was started ahead is the container of the run it was claimed for', () => ranFromSlot(ground()))

  test('a claimed one is adopted, waited for and fenced like any other', () => adoptedByAnother(ground()))

  test('claimed and not told anything: another worker finds it, and removes it', async () => {
    const { newSpec, reopen } = ground()
    const { warm, slotOf } = needs(ground())
    const spec = await newSpec()
    const slot = await warm.startSlot(await slotOf(spec), soon())
    await claim(ground(), slot, spec)
    assert.equal((await reopen().find(spec))?.started, true)
    await reopen().remove(spec, slot.containerId)
    await assert.rejects(async () => {
      await slot.tell(ground().line([]))
      assert.deepEqual(await reopen().wait(spec, soon()), { code: 0, reason: 'exited' })
    })
  })

  test('a slot that dies says so; removing it is repeatable', async () => {
    const { newSpec, reopen } = ground()
    const { warm, slotOf } = needs(ground())
    const slot = await warm.startSlot(await slotOf(await newSpec()), soon())
    const { warm: other } = reopen()
    await other?.removeSlot(slot.slot)
    await other?.removeSlot(slot.slot)
    await waitFor(async () => slot.gone.aborted, { what: 'the slot to be gone' })
    await slot.discard()
    assert.ok(!(await warm.slots()).some((info) => info.slot === slot.slot))
  })

  test('a slot that cannot be started has a cause and leaves nothing; nor one that is no more wanted', async () => {
    const { newSpec, spoil } = ground()
    const { warm, slotOf } = needs(ground())
    const spec = await newSpec()
    const bad = spoil(spec)
    await rejectsWith(bad.failure, warm.startSlot(await slotOf(bad.spec), soon()))
    await rejectsWith(bad.failure, warm.key(bad.spec))
    await assert.rejects(warm.startSlot(await slotOf(spec), AbortSignal.abort(new Error('no more'))), /no more/)
    assert.notEqual(
      await warm.key(spec),
      await warm.key({ ...spec, image: ground().image, env: { OTHER: '1' } }).catch(() => ''),
    )
  })
}
