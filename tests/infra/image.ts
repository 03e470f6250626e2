import { type SpawnOptionsWithoutStdio, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'

export type Ran = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

/** `progress` is told what the command prints, as it comes. */
export type RunOptions = SpawnOptionsWithoutStdio & {
  readonly input?: string
  readonly progress?: (text: string) => void
}

/** A command of this machine, with its whole output; any exit code is a result. Rejects when it cannot be started. */
export const runCommand = (
  command: string,
  args: readonly string[],
  { input = '', progress = () => {}, ...options }: RunOptions = {},
): Promise<Ran> =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: 'pipe' })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk
      progress(chunk)
    })
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk
    })
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout, stderr }))
  })

export const docker = (args: readonly string[], options: { readonly input?: string } = {}): Promise<Ran> =>
  runCommand('docker', args, options)

/** A container name of this test's own; what is left under it is removed after the test. */
export const containerName = (t: Pick<TestContext, 'after'>): string => {
  const name = `mgx-image-test-${randomBytes(4).toString('hex')}`
  t.after(() => docker(['rm', '--force', '--volumes', name]))
  return name
}

/** The limits that agent containers run under; see `dockerOptions`. */
export const HARDENED = [
  ...['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'],
  ...['--tmpfs', '/tmp:rw,exec,nosuid,nodev,mode=1777'],
]
