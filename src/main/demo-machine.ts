import { once } from 'node:events'
import { readdir, readFile, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join, relative } from 'node:path'
import type { Listen } from './config.ts'
import type { DemoFile } from './demo-words.ts'

/** The wanted port where nobody listens on it, else 0: any free one. */
export const freePort = async ({ host, port }: Listen): Promise<number> => {
  const probe = createServer()
  try {
    await once(probe.listen(port, host), 'listening')
    return port
  } catch {
    return 0
  } finally {
    probe.close()
  }
}

/** Directories that are somebody else's work. */
const NOT_SHOWN = new Set(['.git', 'node_modules', '.venv'])

/** Every file below a directory, by path; empty when there is no such directory. */
export const listFiles = async (directory: string): Promise<DemoFile[]> => {
  const found: DemoFile[] = []
  const walk = async (at: string): Promise<void> => {
    const entries = await readdir(at, { withFileTypes: true }).catch(() => [])
    for (const entry of entries) {
      const path = join(at, entry.name)
      if (entry.isDirectory() && !NOT_SHOWN.has(entry.name)) await walk(path)
      if (entry.isFile()) found.push({ path: relative(directory, path), bytes: (await stat(path)).size })
    }
  }
  await walk(directory)
  return found.sort((a, b) => a.path.localeCompare(b.path))
}

/** Written by scripts/docker.sh when it had to start a Docker daemon by hand. */
const DOCKERD_PID = '.cache/dockerd.pid'

const lives = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** What the set-up of the demo started and nobody has stopped, each with how to stop it. */
export const leftRunning = async (): Promise<string[]> => {
  const pid = Number(await readFile(DOCKERD_PID, 'utf8').catch(() => ''))
  if (!(pid > 0) || !lives(pid)) return []
  return [`The Docker daemon that the set-up started still runs: kill $(cat ${DOCKERD_PID}) ends it.`]
}
