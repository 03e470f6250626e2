import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { tempDir } from '../helpers.ts'

export type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

export type Started = {
  readonly child: ChildProcess
  /** What it has said so far. */
  readonly said: () => { readonly stdout: string; readonly stderr: string }
  readonly ended: Promise<Ended>
}

/** What a process of ours needs of the machine's environment, and nothing that would configure it. */
const MACHINE = { PATH: process.env.PATH, HOME: process.env.HOME, TMPDIR: process.env.TMPDIR }

/**
 * Starts src/main/<name>.ts as the process it is, in a directory of its own (with this `.env`, if any), with this
 * environment only. Killed after the test if it still runs.
 */
export const startRoot = async (
  t: Pick<TestContext, 'after'>,
  name: string,
  env: Readonly<Record<string, string>> = {},
  dotenv?: string,
): Promise<Started> => {
  const script = fileURLToPath(new URL(`../../src/main/${name}.ts`, import.meta.url))
  const cwd = await tempDir(t)
  if (dotenv !== undefined) await writeFile(join(cwd, '.env'), dotenv)
  const child = spawn(process.execPath, [script], {
    cwd,
    env: { ...MACHINE, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.after(() => child.kill('SIGKILL'))
  const text = { stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (part: string) => {
      text[stream] += part
    })
  }
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, ...text }))
  return { child, said: () => ({ ...text }), ended }
}
