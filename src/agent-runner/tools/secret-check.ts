import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Opens each file and prints the pids of those that could be opened. */
const PROBE = `for pid in "$@"; do ( : < "/proc/$pid/environ" ) 2>/dev/null && echo "$pid"; done; true`

/**
 * Tries, as a command of the model would, to open the environment of the runner and of the container's first process.
 * @returns the pids whose environment can be read; none is how it must be where the environment holds secrets
 */
export const readableEnvironments = async (env: Readonly<Record<string, string>>): Promise<number[]> => {
  const pids = [...new Set([1, process.pid])]
  const { stdout } = await run('/bin/bash', ['-c', PROBE, 'probe', ...pids.map(String)], { env, cwd: '/' })
  return stdout.split('\n').filter(Boolean).map(Number)
}
