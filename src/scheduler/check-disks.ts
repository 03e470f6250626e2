import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeImage, mountImage, unmountImage } from './disk-image.ts'
import { EngineError } from './engines/engine.ts'
import { isCode } from './file-errors.ts'
import { existingRoot, MOUNTS } from './workspace.ts'
import { IMAGES } from './workspace-disk.ts'

const SOFT = 'or set AGENT_WORKSPACE_QUOTA_KIND=soft'

const refuse = (why: string, remedy: string, cause?: unknown): EngineError =>
  new EngineError('workspace_unavailable', `a hard workspace quota cannot be held here: ${why}`, remedy, { cause })

/** The smallest quota there is. */
const TRIAL_BYTES = 16 * 1024 ** 2

/** An ext4 that two machines mount is lost, and loop devices know nothing of each other's. */
const takeForEngine = async (root: string, engineId: string): Promise<void> => {
  const file = join(root, IMAGES, 'engine')
  await writeFile(file, engineId, { flag: 'wx' }).catch((error: unknown) => {
    if (!isCode(error, 'EEXIST')) throw error
  })
  const owner = await readFile(file, 'utf8')
  if (owner === engineId) return
  throw refuse(
    `the workspaces in ${root} are those of another Docker daemon (${owner}, here it is ${engineId}), and an image is mounted by one machine only`,
    `Give each machine a WORKSPACES_ROOT of its own. If the other daemon is gone for good, delete ${file}; ${SOFT}.`,
  )
}

const REMEDY =
  'The worker must be root with CAP_SYS_ADMIN on the machine of the Docker daemon, have loop devices (/dev/loop-control), e2fsprogs ' +
  `and util-linux, and WORKSPACES_ROOT on a disk of that machine; ${SOFT}.`

const PROPAGATION =
  'Run the worker on the machine itself, in the same mount namespace as the daemon, or mount WORKSPACES_ROOT into its container with ' +
  `propagation rshared; ${SOFT}.`

export type DiskTrial = {
  readonly root: string
  readonly hostRoot: string
  readonly engineId: string
  /** Rejects with `EngineError` unless the engine sees a file below `root` at `hostRoot`. */
  sees(root: string, hostRoot: string): Promise<void>
}

const seenByEngine = async ({ sees, hostRoot }: DiskTrial, directory: string, place: string): Promise<void> => {
  try {
    await sees(directory, join(hostRoot, place))
  } catch (error) {
    if (!(error instanceof EngineError) || error.failure !== 'workspace_unavailable') throw error
    throw refuse('the Docker daemon does not see what this worker mounts below WORKSPACES_ROOT', PROPAGATION, error)
  }
}

/**
 * Makes, mounts, shows to the engine and removes a small disk, as each workspace will have one.
 * Rejects (`EngineError`) with what is missing. @returns bytes that files have of 16 MB
 */
export const checkDisks = async (trial: DiskTrial): Promise<number> => {
  const root = await existingRoot(trial.root)
  const place = join(MOUNTS, `check-${randomBytes(6).toString('hex')}`)
  const directory = join(root, place)
  const image = `${directory}.img`
  await using stack = new AsyncDisposableStack()
  try {
    for (const each of [IMAGES, MOUNTS]) await mkdir(join(root, each), { recursive: true, mode: 0o755 })
    stack.defer(() => rm(image, { force: true }))
    await makeImage(image, join(root, MOUNTS), TRIAL_BYTES, '0:0')
    stack.defer(() => unmountImage(image, directory))
    await mountImage(image, directory, 0o755)
  } catch (error) {
    throw refuse((error as Error).message, REMEDY, error)
  }
  await seenByEngine(trial, directory, place)
  await takeForEngine(root, trial.engineId)
  const { blocks, bsize } = await statfs(directory)
  return blocks * bsize
}
