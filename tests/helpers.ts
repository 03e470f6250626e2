import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

export { sleep }

/** A directory of this test's own, removed after it. */
export const tempDir = async (t: Pick<TestContext, 'after'>, prefix = 'mgx-test-'): Promise<string> => {
  const dir = await mkdtemp(join(tmpdir(), prefix))
  t.after(() => rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))
  return dir
}

/** A TCP port on which nobody listened a moment ago. Where a server can listen on port 0, let it. */
export const freePort = async (host = '127.0.0.1'): Promise<number> => {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, host, resolve)
  })
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port')
  return address.port
}

export type WaitOptions = { readonly timeoutMs?: number; readonly everyMs?: number; readonly what?: string }

/**
 * Calls `probe` until it gives something truthy, and returns that. A probe that rejects counts as "not yet"; its last
 * error is the `cause` when the time is up (default 60 s).
 */
export const waitFor = async <T>(
  probe: () => T | Promise<T>,
  { timeoutMs = 60_000, everyMs = 20, what = 'the condition' }: WaitOptions = {},
): Promise<Exclude<T, false | null | undefined | 0 | ''>> => {
  const deadline = Date.now() + timeoutMs
  let cause: unknown
  for (;;) {
    try {
      const value = await probe()
      if (value) return value as Exclude<T, false | null | undefined | 0 | ''>
      cause = undefined
    } catch (error) {
      cause = error
    }
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms for ${what}`, { cause })
    await sleep(everyMs)
  }
}
