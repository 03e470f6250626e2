import { randomBytes } from 'node:crypto'
import { lstat, mkdir, readdir, readlink, rename, rmdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { growImage, isMounted, makeImage, mountImage, unmountImage } from './disk-image.ts'
import type { EngineError } from './engines/engine.ts'
import { isCode } from './file-errors.ts'
import { existingRoot, MOUNTS, OWNER_ONLY, refuseWorkspace } from './workspace.ts'

/**
 * A workspace on a file system of its own, so that its quota is the kernel's:
 *
 *   .mgx/disks/<workspace_id>.img   its files, in an image that grows as they do
 *   .mgx/mounts/<run_id>/           the image, mounted for one run and by nobody else unmounted
 *   <workspace_id>                  a link to the last of these: dangling while no run is there
 *   .mgx/disks/engine               whose these images are (check-disks.ts)
 */
export const IMAGES = join('.mgx', 'disks')

type Ref = { readonly workspace_id: string; readonly run_id: string }

export const mountsDir = (root: string): string => join(root, MOUNTS)

/** Below the root of the workspaces; no workspace can be called so. */
const placeOf = ({ run_id }: Pick<Ref, 'run_id'>): string => join(MOUNTS, run_id)

export const imageOf = (root: string, { workspace_id }: Pick<Ref, 'workspace_id'>): string =>
  join(root, IMAGES, `${workspace_id}.img`)

const statOf = (path: string) =>
  lstat(path).catch((error: unknown) => {
    if (isCode(error, 'ENOENT')) return undefined
    throw error
  })

const both = (home: string, image: string): EngineError =>
  refuseWorkspace(`the workspace has files in ${home} and in ${image}`, 'Move one of them away; nothing was deleted.')

/**
 * Whether this workspace is, or may become, one with an image: false for a directory with files in it, which stays what it is.
 * An empty one is removed. Throws `EngineError`.
 */
const makesWay = async (home: string, image: string): Promise<boolean> => {
  const there = await statOf(home)
  if (there === undefined) return true
  if (there.isSymbolicLink() && (await readlink(home)).startsWith(`${MOUNTS}/`)) return true
  // What is no directory, or a link elsewhere, is refused where all workspaces are.
  if (!there.isDirectory()) return false
  const isPlain = (await isMounted(home)) || (await readdir(home)).length > 0
  if (!isPlain) await rmdir(home)
  else if ((await statOf(image)) !== undefined) throw both(home, image)
  return !isPlain
}

/** Over an older link, so that there is always one. */
const pointTo = async (root: string, home: string, place: string): Promise<void> => {
  const draft = join(root, MOUNTS, `draft-${randomBytes(8).toString('hex')}`)
  await symlink(place, draft)
  await rename(draft, home)
}

export type DiskFor = { readonly root: string; readonly run: Ref; readonly user: string; readonly bytes: number }

const open = async (root: string, { run, user, bytes }: DiskFor): Promise<string> => {
  const image = imageOf(root, run)
  const place = placeOf(run)
  const directory = join(root, place)
  for (const each of [IMAGES, MOUNTS]) await mkdir(join(root, each), { recursive: true, mode: 0o755 })
  if ((await statOf(image)) === undefined) await makeImage(image, join(root, MOUNTS), bytes, user)
  else await growImage(image, bytes)
  await mountImage(image, directory, OWNER_ONLY)
  await pointTo(root, join(root, run.workspace_id), place)
  return place
}

/**
 * Mounts the workspace's image for this run, having made it or let it grow to `bytes`; one that is larger stays so. Can be done again, by
 * anybody. @returns the path below the root, or `undefined` for a workspace that is a plain directory with files.
 * Throws `EngineError` (`workspace_unavailable`).
 */
export const openDisk = async (asked: DiskFor): Promise<string | undefined> => {
  const root = await existingRoot(asked.root)
  if (!(await makesWay(join(root, asked.run.workspace_id), imageOf(root, asked.run)))) return undefined
  try {
    return await open(root, asked)
  } catch (error) {
    const { message } = error as Error
    throw refuseWorkspace(
      `the disk of the workspace "${asked.run.workspace_id}" cannot be mounted: ${message}`,
      `Look at ${imageOf(root, asked.run)} (e2fsck -p repairs what a crash has left), or run \`npm run doctor\`.`,
      error,
    )
  }
}

/** After the run's container is gone. Nothing is there for a run whose workspace is a plain directory. */
export const closeDisk = async (root: string, run: Ref): Promise<void> => {
  const directory = join(root, placeOf(run))
  if ((await statOf(directory)) !== undefined) await unmountImage(imageOf(root, run), directory)
}
