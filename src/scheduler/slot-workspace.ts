import * as files from 'node:fs/promises'
import { join } from 'node:path'
import type { Claim } from './claims.ts'
import type { EngineError } from './engines/engine.ts'
import { isCode } from './file-errors.ts'
import { gatewayDir, slotDir, slotLink, slotShared, slotWorkspace } from './slot-paths.ts'
import { giveAway, OWNER_ONLY, refuseWorkspace, takeOver } from './workspace.ts'

/** What moves workspaces; `node:fs/promises`, but for tests that die between two of them. */
export type Moves = Pick<typeof files, 'mkdir' | 'rename' | 'symlink' | 'unlink' | 'rmdir'>

/** Whose a slot is, for whoever finds it without a container. */
export type SlotNote = { readonly v: 1; readonly engine_id: string; readonly created_at: string }

const NOTE = 'slot.json'

/** Not writable for agents that are not our own user: the workspace in it must stay where it is. */
const SHARED_MODE = 0o755
/** Nor for those that are. */
const CLOSED_MODE = 0o555

const statOf = (path: string) =>
  files.lstat(path).catch((error: unknown) => {
    if (isCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  })

/** Makes the directory of a new slot. */
export const makeSlot = async (root: string, slot: string, note: SlotNote): Promise<void> => {
  await files.mkdir(slotDir(root, slot), { recursive: true, mode: 0o755 })
  await files.writeFile(join(slotDir(root, slot), NOTE), JSON.stringify(note))
  await files.mkdir(slotShared(root, slot), { mode: SHARED_MODE })
  // By hand: a umask would keep the agent's user out.
  await files.chmod(slotShared(root, slot), SHARED_MODE)
}

/** The pool that keeps a slot says so again and again. */
export const renewLease = async (root: string, slot: string): Promise<void> => {
  const now = new Date()
  await files.utimes(join(slotDir(root, slot), NOTE), now, now)
}

/** When the slot was made, or last said to be kept; `undefined` where it has no directory any more. */
export const leasedAt = async (root: string, slot: string): Promise<Date | undefined> =>
  (await statOf(join(slotDir(root, slot), NOTE)))?.mtime

/** When something was made or removed in the slot's directory last; `undefined` where there is none. */
export const changedAt = async (root: string, slot: string): Promise<Date | undefined> =>
  (await statOf(slotDir(root, slot)))?.mtime

/** `undefined` where there is none, or none that can be read. */
export const readNote = async (root: string, slot: string): Promise<SlotNote | undefined> => {
  try {
    return JSON.parse(await files.readFile(join(slotDir(root, slot), NOTE), 'utf8')) as SlotNote
  } catch {
    return undefined
  }
}

/** The workspace cannot be moved; it is where it was. */
export class CannotMove extends Error {}

const MOUNTED_ELSEWHERE = ['EXDEV', 'EBUSY', 'EACCES', 'EPERM']

/**
 * Brings the workspace of a claim into its slot, or makes a new one there, and leaves a link in its place. Not before the claim is
 * stored. Rejects with `CannotMove`, or as the file system does; what was done then is undone by `bringHome`.
 */
export const handOver = async (root: string, claim: Claim, user: string, moves: Moves = files): Promise<void> => {
  const home = join(root, claim.workspace_id)
  const inside = slotWorkspace(root, claim.slot)
  const there = await statOf(home)
  if (there === undefined) {
    await moves.mkdir(inside, { mode: OWNER_ONLY })
    await giveAway(inside, user)
  } else {
    if (!there.isDirectory()) throw new CannotMove(`${home} is a link or a file`)
    await takeOver(home, user)
    await moves.rename(home, inside).catch((error: unknown) => {
      if (isCode(error, ...MOUNTED_ELSEWHERE)) throw new CannotMove((error as Error).message)
      throw error
    })
  }
  if (process.getuid?.() !== 0) await files.chmod(slotShared(root, claim.slot), CLOSED_MODE)
  await moves.symlink(slotLink(claim.slot), home)
}

const displaced = (home: string, inside: string, what: string, cause?: unknown): EngineError =>
  refuseWorkspace(
    `the files of the workspace ${home} are in ${inside}, and ${what}`,
    'Stop the session, move what lies there away, and move the files back by hand; nothing was deleted.',
    cause,
  )

const isOurLink = async (home: string, slot: string): Promise<boolean> =>
  (await files.readlink(home).catch(() => '')) === slotLink(slot)

/** Removes the link; when others bring the workspace home at the same time, it may be a directory by then. */
const unlinkOurs = async (home: string, slot: string, moves: Moves): Promise<void> => {
  if (await isOurLink(home, slot)) await moves.unlink(home).catch((error: unknown) => ignore(error, 'ENOENT', 'EISDIR'))
}

/** False when something that is not ours is in the place. The second look is for a link that a late hand-over has just made. */
const makeRoom = async (home: string, slot: string, moves: Moves): Promise<boolean> => {
  for (let look = 0; look < 2; look++) {
    await unlinkOurs(home, slot, moves)
    if ((await statOf(home))?.isDirectory() !== false) return true
  }
  return false
}

/** Moves what an agent may have closed to us, its own user; the mode stays as it was. */
const moveHome = async (inside: string, home: string, moves: Moves): Promise<void> => {
  try {
    await moves.rename(inside, home)
  } catch (error) {
    if (!isCode(error, 'EACCES')) throw error
    const { mode } = await files.lstat(inside)
    await files.chmod(inside, 0o700)
    await moves.rename(inside, home)
    await files.chmod(home, mode & 0o7777)
  }
}

const moveBack = async (home: string, inside: string, slot: string, moves: Moves): Promise<void> => {
  if (!(await makeRoom(home, slot, moves))) throw displaced(home, inside, 'something else has taken its place')
  try {
    await moveHome(inside, home, moves)
  } catch (error) {
    if (isCode(error, 'ENOTEMPTY', 'EEXIST')) throw displaced(home, inside, 'another directory is in its place', error)
    // Somebody else brought it home at the same time, or the one who was given the slot has just put the link there.
    ignore(error, 'ENOENT', 'ENOTDIR')
  }
}

const ignore = (error: unknown, ...codes: string[]): void => {
  if (!isCode(error, ...codes)) throw error
}

/** What is left in a slot when its workspace is home: files that the agent put beside it. True when all is gone. */
const clearShared = async (shared: string, home: string, moves: Moves): Promise<boolean> => {
  try {
    await moves.rmdir(shared)
    return true
  } catch (error) {
    if (isCode(error, 'ENOENT')) return true
    ignore(error, 'ENOTEMPTY', 'EEXIST')
  }
  const names = (await files.readdir(shared)).filter((name) => name !== 'workspace')
  if (names.length > 0 && !(await statOf(home))?.isDirectory()) {
    throw displaced(home, shared, 'its agent moved them there')
  }
  for (const name of names) await files.rm(join(shared, name), { recursive: true, force: true })
  return false
}

/** More often than any number of workers at once could disturb each other. */
const ROUNDS = 20

/**
 * Brings the workspace of a claim back to where it belongs and removes the slot's directory; whatever was done or left undone
 * before, by whomever. Not while the slot's container is there. Throws `EngineError` (`workspace_unavailable`) when
 * something else has taken the workspace's place: then nothing is deleted.
 */
export const bringHome = async (root: string, claim: Claim, moves: Moves = files): Promise<void> => {
  const home = join(root, claim.workspace_id)
  const inside = slotWorkspace(root, claim.slot)
  const shared = slotShared(root, claim.slot)
  for (let round = 0; ; round++) {
    await files.chmod(shared, SHARED_MODE).catch((error: unknown) => ignore(error, 'ENOENT'))
    if ((await statOf(inside))?.isDirectory()) await moveBack(home, inside, claim.slot, moves)
    // Only when `w` is gone can nothing be moved into it any more, by a worker that wakes up late.
    if (await clearShared(shared, home, moves)) break
    if (round === ROUNDS) throw displaced(home, inside, 'they cannot be moved')
  }
  await unlinkOurs(home, claim.slot, moves)
  await removeSlotFiles(root, claim.slot)
}

/** What else belongs to a slot; `w` must be gone, or never have had a workspace. The claim goes with it. */
export const removeSlotFiles = async (root: string, slot: string): Promise<void> => {
  await files.rmdir(slotShared(root, slot)).catch((error: unknown) => ignore(error, 'ENOENT'))
  await files.rm(gatewayDir(root, slot), { recursive: true, force: true })
  await files.rm(slotDir(root, slot), { recursive: true, force: true })
}
