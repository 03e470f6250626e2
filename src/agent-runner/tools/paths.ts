import { lstat, realpath } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { errnoOf } from './tool.ts'

/** Where a path of the model leads: `real` has no symbolic link in it; `shown` is relative to the workspace. */
export type FoundPath = { readonly real: string; readonly shown: string }

export type PathResult = FoundPath | { readonly refused: string }

/** Never, wherever the workspace is: what lies there is not files but the machine, and the runner's own environment. */
const FORBIDDEN = ['/proc', '/sys', '/dev']

const isUnder = (path: string, root: string): boolean => path === root || path.startsWith(root + sep)

/** The real path of the deepest part that exists, and the rest as it was written. */
const resolveDeepest = async (path: string): Promise<string> => {
  const missing: string[] = []
  for (let at = path; ; at = dirname(at)) {
    const entry = await lstat(at).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined
      throw error
    })
    if (entry !== undefined) return join(await realpath(at), ...missing)
    missing.unshift(basename(at))
  }
}

/**
 * Leads a path of the model to a place in the workspace, following links first: what exists of it must really lie there.
 * This keeps honest mistakes and planted links out of the file tools; what a command may reach is the container's matter.
 */
export const findPath = async (workspace: string, path: string): Promise<PathResult> => {
  if (path === '' || path.includes('\0')) return { refused: 'a path must not be empty or contain NUL' }
  const root = await realpath(workspace)
  const written = resolve(root, path)
  if (FORBIDDEN.some((place) => isUnder(written, place))) return { refused: `${path} is not a file of the workspace` }
  try {
    const real = await resolveDeepest(written)
    if (isUnder(real, root)) return { real, shown: relative(root, real) || '.' }
  } catch (error) {
    const code = errnoOf(error)
    if (code === 'ELOOP') return { refused: `${path} is a link to itself` }
    if (code === 'ENAMETOOLONG') return { refused: `${path.slice(0, 80)}… is too long for a path` }
    if (code === 'ENOENT') return { refused: `${path} is a link to something that does not exist` }
    if (code === 'EACCES') return { refused: `${path} is out of reach: permission denied` }
    throw error
  }
  return { refused: `${path} leads out of the workspace; file tools work on files under ${root} only` }
}
