import { chown, lstat, mkdir, readdir, readlink, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { EngineError } from './engines/engine.ts'
import { isCode } from './file-errors.ts'

export const OWNER_ONLY = 0o750

export const refuseWorkspace = (message: string, remedy: string, cause?: unknown): EngineError =>
  new EngineError('workspace_unavailable', message, remedy, { cause })

/** Hands a directory to the agent's user, where this process may give away what it made. */
export const giveAway = async (path: string, user: string): Promise<void> => {
  const [uid, gid] = user.split(':').map(Number)
  if (process.getuid?.() === 0 && uid !== undefined) await chown(path, uid, gid ?? uid)
}

/** Where the link of a workspace leads that lies in an image (workspace-disk.ts). */
export const MOUNTS = join('.mgx', 'mounts')

const notDirectory = async (path: string): Promise<EngineError> => {
  const leadsTo = await readlink(path).catch(() => '')
  return leadsTo.startsWith(`${MOUNTS}/`)
    ? refuseWorkspace(
        `the files of the workspace ${path} are in an image, for a hard quota`,
        'Set AGENT_WORKSPACE_QUOTA_KIND=hard again, or copy them out of it: see docs/operations.md.',
      )
    : refuseWorkspace(
        `the workspace ${path} is not a directory`,
        'Move it away: a workspace is a plain directory, not a link or a file.',
      )
}

/** Accepts what lies there already. One that is empty and root's was made by a worker that died before it gave it away. */
export const takeOver = async (path: string, user: string): Promise<void> => {
  const stat = await lstat(path)
  if (!stat.isDirectory()) throw await notDirectory(path)
  if (stat.uid === 0 && process.getuid?.() === 0 && (await readdir(path)).length === 0) await giveAway(path, user)
}

/**
 * Makes the workspace directory if it is new, for the agent's user where this process may give it away.
 * Throws `EngineError` (`workspace_unavailable`): a link or a file under that name, a root that is missing or read-only.
 */
export const prepareWorkspace = async (root: string, workspaceId: string, user: string): Promise<string> => {
  const path = join(await existingRoot(root), workspaceId)
  try {
    await mkdir(path, { mode: OWNER_ONLY })
    await giveAway(path, user)
  } catch (error) {
    if (!isCode(error, 'EEXIST')) {
      throw refuseWorkspace(`cannot make the workspace directory ${path}`, `Let this user write to ${root}.`, error)
    }
    await takeOver(path, user)
  }
  return path
}

/** The root's real path. Throws `EngineError`: nothing here ever makes the root itself. */
export const existingRoot = async (root: string): Promise<string> => {
  try {
    return await realpath(root)
  } catch (error) {
    throw refuseWorkspace(`the workspace root ${root} does not exist`, 'Create it, or set WORKSPACES_ROOT.', error)
  }
}
