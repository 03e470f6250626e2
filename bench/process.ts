import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** A Node process of the benchmark's own; ended, by its pid, when disposed. */
export type Child = { readonly pid: number; readonly process: ChildProcess } & AsyncDisposable

const KILL_AFTER_MS = 15_000

/** As in the image, where it is baked. */
const NODE_COMPILE_CACHE = join(import.meta.dirname, '..', '.cache', 'bench')

export const startNode = (file: string, env: Record<string, string>, nodeArgs: readonly string[] = []): Child => {
  const { PATH = '', HOME = '' } = process.env
  const child = spawn(process.execPath, [...nodeArgs, file], {
    env: { PATH, HOME, NODE_COMPILE_CACHE, ...env },
    stdio: ['ignore', process.env.BENCH_VERBOSE ? 'inherit' : 'ignore', 'inherit', 'ipc'],
  })
  if (child.pid === undefined) throw new Error(`could not start ${file}`)
  // Also when the benchmark is interrupted: nothing of it stays.
  const onExit = () => void child.kill('SIGKILL')
  process.prependOnceListener('exit', onExit)
  child.once('exit', () => process.off('exit', onExit))
  return {
    pid: child.pid,
    process: child,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS)
      await gone
      clearTimeout(timer)
    },
  }
}

/** Waits until `url` answers 200. */
export const untilReady = async (url: string, timeoutMs = 30_000): Promise<void> => {
  const end = Date.now() + timeoutMs
  for (;;) {
    const status = await fetch(url).then(
      (r) => r.status,
      () => 0,
    )
    if (status === 200) return
    if (Date.now() > end) throw new Error(`${url} did not answer 200 within ${timeoutMs} ms (last status ${status})`)
    await sleep(50)
  }
}

/** Resident memory of a process, bytes (VmRSS of proc(5)). */
export const residentBytes = async (pid: number): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]
  if (kib === undefined) throw new Error(`no VmRSS for process ${pid}`)
  return Number(kib) * 1024
}

/** User and system time of a process so far, milliseconds (fields 14 and 15 of /proc/<pid>/stat, in 1/100 s). */
export const cpuMs = async (pid: number): Promise<number> => {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** Node arguments that let {@link heapBytes} ask. */
export const PROBE = ['--expose-gc', '--import', join(import.meta.dirname, 'probe.ts')]

/** Heap in use after a collection, bytes; of a process that was started with {@link PROBE}. */
export const heapBytes = async ({ process: child }: Child): Promise<number> => {
  const answer = once(child, 'message')
  child.send('heap')
  const [{ heap }] = (await answer) as [{ heap: number }]
  return heap
}
