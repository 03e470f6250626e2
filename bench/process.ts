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
    stdio: ['ignore', process.env.BENCH_VERBOSE ? 'inherit' : 'ignore', 'inherit'],
  })
  if (child.pid === undefined) throw new Error(`could not start ${file}`)
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
