import { readdir, readFile } from 'node:fs/promises'
import { CALL_MARKER } from './command-env.ts'
import { errnoOf } from './tool.ts'

/** Sends a signal to every process of a group (0: none, only looks); false when there is none. */
export const signalGroup = (leader: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    process.kill(-leader, signal)
    return true
  } catch (error) {
    if (errnoOf(error) === 'ESRCH') return false
    // EPERM: it is there and is not ours to signal.
    if (errnoOf(error) === 'EPERM') return true
    throw error
  }
}

const PASSES = 3

/**
 * Kills the processes of one command wherever they went: `setsid` takes them out of the group, but their environment keeps
 * the marker. Only for containers, where everything that can be seen belongs to this run.
 */
export const sweepCall = async (marker: string): Promise<void> => {
  const wanted = `${CALL_MARKER}=${marker}`
  for (let pass = 0; pass < PASSES; pass++) {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
    let killed = 0
    for (const pid of pids) {
      const environ = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
      if (pid === process.pid || !environ.split('\0').includes(wanted)) continue
      try {
        process.kill(pid, 'SIGKILL')
        killed += 1
      } catch (error) {
        if (errnoOf(error) !== 'ESRCH') throw error
      }
    }
    if (killed === 0) return
  }
}
