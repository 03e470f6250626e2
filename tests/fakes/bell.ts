/** Something has changed: who waits looks again. */
export type Bell = { ring(): void; rung(signal?: AbortSignal): Promise<void> }

export const createBell = (): Bell => {
  let next = Promise.withResolvers<void>()
  return {
    ring() {
      next.resolve()
      next = Promise.withResolvers<void>()
    },
    /** Resolves at the next ring, and also when `signal` aborts: the caller looks at both anyway. */
    async rung(signal) {
      if (signal?.aborted) return
      const leave = Promise.withResolvers<void>()
      const onAbort = (): void => leave.resolve()
      signal?.addEventListener('abort', onAbort, { once: true })
      await Promise.race([next.promise, leave.promise])
      signal?.removeEventListener('abort', onAbort)
    },
  }
}
