import assert from 'node:assert/strict'
import { lstat, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Run } from '#contracts/run.ts'
import { readSlots } from '#scheduler/claims.ts'
import { slotsDir } from '#scheduler/slot-paths.ts'
import type { World } from './world.ts'

export const SHORT = { handOff: 300 }

/** The workspace is a plain directory with this in it, and no slot of a run is left. */
export const checkHome = async (world: World, run: Run, file = 'kept'): Promise<void> => {
  const home = join(world.root, run.workspace_id)
  assert.ok((await lstat(home)).isDirectory(), 'a plain directory')
  assert.equal(await readFile(join(home, file), 'utf8'), 'of before')
  const claims = await Promise.all(
    (await readSlots(world.root)).map(async (slot) =>
      (await readdir(join(slotsDir(world.root), slot))).includes('claim.json'),
    ),
  )
  assert.ok(!claims.includes(true), 'no claim is left')
}

export const fill = async (world: World, workspaceId: string): Promise<void> => {
  await mkdir(join(world.root, workspaceId))
  await writeFile(join(world.root, workspaceId, 'kept'), 'of before')
}

export const begun = (world: World) => world.engine.boxes.filter((box) => box.jobLine !== undefined).length
