import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { EngineError, type SandboxRef, type SandboxSpec } from './engine.ts'
import { bootId, isAlive, type ProcessId } from './process-table.ts'

/** What a "container" of the process engine is on disk: a directory named by its id. A leading dot hides half-made ones. */
export const FILES = {
  about: 'about.json',
  /** Written by the supervisor once the runner lives. */
  processes: 'processes.json',
  output: 'output',
  /** Written by the supervisor when the runner has ended. */
  exit: 'exit.json',
  home: 'home',
  tmp: 'tmp',
} as const

export type About = SandboxRef & {
  readonly containerId: string
  readonly workspace_id: string
  readonly createdAt: string
}

export type Processes = { readonly boot: string; readonly supervisor: ProcessId; readonly runner: ProcessId }

export type Box = About & { readonly dir: string }

/** `unstarted`: no runner yet. `lost`: no runner any more, and nobody wrote down how it ended. */
export type BoxState =
  | { readonly kind: 'unstarted' | 'lost' }
  | { readonly kind: 'running'; readonly processes: Processes }
  | { readonly kind: 'over'; readonly code: number }

const isMissing = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT'

const readJson = async <T>(path: string): Promise<T | undefined> => {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** Half-made and half-removed ones are not shown: they appear and vanish by one rename each. */
export const listBoxes = async (stateDir: string): Promise<Box[]> => {
  const names = await readdir(stateDir).catch((error: unknown) => {
    if (isMissing(error)) return []
    const remedy = 'Let this user read and write there.'
    throw new EngineError('engine_unavailable', `cannot read ${stateDir}: ${error}`, remedy, { cause: error })
  })
  const boxes = names
    .filter((name) => !name.startsWith('.'))
    .map(async (name) => {
      const dir = join(stateDir, name)
      const about = await readJson<About>(join(dir, FILES.about))
      return about && { ...about, dir }
    })
  return (await Promise.all(boxes)).filter((box) => box !== undefined)
}

export const makeBox = async (stateDir: string, spec: SandboxSpec): Promise<Box> => {
  const containerId = `process-${randomUUID()}`
  const about: About = {
    containerId,
    session_id: spec.session_id,
    run_id: spec.run_id,
    workspace_id: spec.workspace_id,
    createdAt: new Date().toISOString(),
  }
  const hidden = join(stateDir, `.new-${containerId}`)
  for (const part of [FILES.home, FILES.tmp]) await mkdir(join(hidden, part), { recursive: true, mode: 0o700 })
  await writeFile(join(hidden, FILES.output), '')
  await writeFile(join(hidden, FILES.about), JSON.stringify(about))
  const dir = join(stateDir, containerId)
  await rename(hidden, dir)
  return { ...about, dir }
}

const isHere = async ({ boot, supervisor, runner }: Processes): Promise<boolean> =>
  boot === (await bootId()) && ((await isAlive(supervisor)) || (await isAlive(runner)))

export const stateOf = async ({ dir }: Box): Promise<BoxState> => {
  const processes = await readJson<Processes>(join(dir, FILES.processes))
  if (!processes) return { kind: (await readJson(join(dir, FILES.about))) ? 'unstarted' : 'lost' }
  const here = await isHere(processes)
  // Read after looking for the processes: the supervisor writes it just before it leaves.
  const exit = await readJson<{ code: number }>(join(dir, FILES.exit))
  if (exit) return { kind: 'over', code: exit.code }
  return here ? { kind: 'running', processes } : { kind: 'lost' }
}

/** Gone for everybody at once; what cannot be deleted now (read-only directories in its HOME) is `sweep`'s. */
export const removeBox = async ({ dir, containerId }: Box, stateDir: string): Promise<void> => {
  const trash = join(stateDir, `.gone-${containerId}-${randomUUID()}`)
  try {
    await rename(dir, trash)
  } catch (error) {
    if (isMissing(error)) return
    throw error
  }
  await rm(trash, { recursive: true, force: true, maxRetries: 3 }).catch(() => {})
}

/** Deletes what a crash left half-made or half-removed. */
export const sweep = async (stateDir: string): Promise<void> => {
  const names = (await readdir(stateDir)).filter((name) => /^\.(new|gone)-/.test(name))
  await Promise.all(names.map((name) => rm(join(stateDir, name), { recursive: true, force: true }).catch(() => {})))
}
