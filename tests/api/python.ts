import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { aptInstall, exec, findOrInstall, whyNoInstall } from '../services/machine.ts'

const PINS = ['httpx==0.28.1', 'httpx-sse==0.4.3']

const makeVenv = async (python: string, dir: string): Promise<void> => {
  const make = () => exec(python, ['-m', 'venv', dir])
  try {
    await make()
  } catch (error) {
    if (whyNoInstall() !== undefined) throw error
    // Debian splits ensurepip off from python3.
    await aptInstall(['python3-venv'])
    await make()
  }
  await exec(join(dir, 'bin/pip'), ['install', '--quiet', '--disable-pip-version-check', ...PINS])
}

/** A Python that has httpx-sse: made once, in the cache of this user; or why there is none. */
export const pythonWithSse = async (): Promise<{ python: string } | { why: string }> => {
  const found = await findOrInstall('python3', ['python3', 'python3-venv'])
  if ('why' in found) return found
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'mgx')
  const dir = join(cache, `venv-${createHash('sha256').update(PINS.join()).digest('hex').slice(0, 8)}`)
  const python = join(dir, 'bin/python')
  const ready = join(dir, 'ready')
  if (existsSync(ready)) return { python }
  try {
    await mkdir(cache, { recursive: true })
    await rm(dir, { recursive: true, force: true })
    await makeVenv(found.path, dir)
    await writeFile(ready, '')
    return { python }
  } catch (error) {
    return { why: `no virtual environment with ${PINS.join(' and ')}: ${String(error).split('\n')[0]}` }
  }
}
