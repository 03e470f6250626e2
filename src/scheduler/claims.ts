import { randomBytes } from 'node:crypto'
import { link, open, readdir, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { isCode } from './file-errors.ts'
import { slotDir, slotsDir } from './slot-paths.ts'

/**
 * Which run a slot was given to: written once, before anything else is done, and never changed. It stands in for the labels
 * that a started container can no more get, and it is the journal by which a workspace finds home after a crash.
 */
export type Claim = {
  readonly v: 1
  readonly slot: string
  readonly engine_id: string
  readonly container_id: string
  readonly tenant_id: string
  readonly session_id: string
  readonly run_id: string
  readonly workspace_id: string
  /** ISO-8601. */
  readonly claimed_at: string
}

/** In the place of a claim: nobody may claim this slot any more. */
type Retired = { readonly v: 1; readonly retired: true }

const CLAIM = 'claim.json'

const writeOnce = async (directory: string, text: string): Promise<void> => {
  const draft = join(directory, `claim.${randomBytes(4).toString('hex')}`)
  try {
    await using file = await open(draft, 'wx', 0o600)
    await file.writeFile(text)
    await file.sync()
    // Appears whole or not at all, and never over another one.
    await link(draft, join(directory, CLAIM))
  } finally {
    await unlink(draft).catch(() => {})
  }
  await using entry = await open(directory, 'r')
  await entry.sync()
}

/** Rejects with EEXIST when the slot is claimed or retired already, with ENOENT when it is gone. Durable when it resolves. */
export const writeClaim = (root: string, claim: Claim): Promise<void> =>
  writeOnce(slotDir(root, claim.slot), JSON.stringify(claim))

/** From now on nobody can claim the slot; false when somebody already has. A slot that is gone is retired. */
export const retireSlot = async (root: string, slot: string): Promise<boolean> => {
  try {
    await writeOnce(slotDir(root, slot), JSON.stringify({ v: 1, retired: true } satisfies Retired))
    return true
  } catch (error) {
    if (isCode(error, 'ENOENT')) return true
    if (!isCode(error, 'EEXIST')) throw error
    return (await readClaim(root, slot)) === undefined
  }
}

const readClaim = async (root: string, slot: string): Promise<Claim | undefined> => {
  try {
    const read = JSON.parse(await readFile(join(slotDir(root, slot), CLAIM), 'utf8')) as Claim | Retired
    return 'retired' in read ? undefined : read
  } catch (error) {
    if (isCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}

/** The claims there are; what engines see claimed slots by. */
export type Claims = { all(): Promise<readonly Claim[]> }

/** Reads each claim once: they never change. */
export const createClaims = (root: string): Claims => {
  let known = new Map<string, Claim>()
  return {
    async all() {
      const slots = await readSlots(root)
      const found = await Promise.all(slots.map(async (slot) => known.get(slot) ?? readClaim(root, slot)))
      known = new Map(found.flatMap((claim) => (claim === undefined ? [] : [[claim.slot, claim] as const])))
      return [...known.values()]
    },
  }
}

/** The slots that have a directory. */
export const readSlots = async (root: string): Promise<string[]> => {
  try {
    return await readdir(slotsDir(root))
  } catch (error) {
    if (isCode(error, 'ENOENT')) return []
    throw error
  }
}

/** The claims that are this run's: one, or none, as long as nobody was asleep. */
export const claimsOf = async (
  claims: Claims,
  ref: { readonly session_id: string; readonly run_id: string },
): Promise<Claim[]> =>
  (await claims.all()).filter((claim) => claim.run_id === ref.run_id && claim.session_id === ref.session_id)
