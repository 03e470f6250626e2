import { createHash } from 'node:crypto'
import { join } from 'node:path'

/**
 * Where the parts of a slot lie under WORKSPACES_ROOT; pure. `w` is mounted into the slot's container as a whole, so that a
 * directory that is renamed to `w/workspace` later on is there at once:
 *
 *   .mgx/slots/<slot>/slot.json    whose it is
 *   .mgx/slots/<slot>/claim.json   the run it was given to: its label
 *   .mgx/slots/<slot>/w/workspace      that run's workspace, while it lasts
 */
export const slotsDir = (root: string): string => join(root, '.mgx', 'slots')

export const slotDir = (root: string, slot: string): string => join(slotsDir(root), slot)

export const slotShared = (root: string, slot: string): string => join(slotDir(root, slot), 'w')

export const slotWorkspace = (root: string, slot: string): string => join(slotShared(root, slot), 'workspace')

/** What `workspaces/<id>` is while its files are in a slot: relative, so that it leads there in every mount of the root. */
export const slotLink = (slot: string): string => join('.mgx', 'slots', slot, 'w', 'workspace')

/**
 * Where the gateway socket of a run, or of a slot, lies. Short: a socket path has at most 107 bytes (sun_path in unix(7),
 * less the NUL).
 */
export const gatewayDir = (root: string, owner: string): string =>
  join(root, '.mgx', createHash('sha256').update(owner).digest('hex').slice(0, 12))
