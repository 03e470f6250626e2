import { setTimeout as sleep } from 'node:timers/promises'

/** Waits longer each time: doubled up to `maxMs`, the second half of each pause at random. */
export type BackOff = {
  /** Resolves after the pause, or when the signal aborts. */
  wait(): Promise<void>
}

export type BackOffOptions = { readonly firstMs?: number; readonly maxMs: number; readonly signal?: AbortSignal }

export const createBackOff = ({ firstMs = 50, maxMs, signal }: BackOffOptions): BackOff => {
  let next = Math.min(firstMs, maxMs)
  return {
    async wait() {
      const ms = next / 2 + (Math.random() * next) / 2
      next = Math.min(next * 2, maxMs)
      try {
        await sleep(ms, undefined, signal && { signal })
      } catch {
        // Aborted: whoever waits looks at the signal.
      }
    },
  }
}
