/** At most so many at once; the others wait their turn, first come first served. */
export type Semaphore = {
  /** A place, given back by disposing it (`using`). Rejects with `signal.reason` when that aborts first. */
  acquire(signal?: AbortSignal): Promise<Disposable>
}

export const createSemaphore = (places: number): Semaphore => {
  let free = places
  const waiting: Array<() => void> = []

  const release = (): void => {
    const next = waiting.shift()
    if (next) next()
    else free += 1
  }

  const place = (): Disposable => {
    let held = true
    return {
      [Symbol.dispose]() {
        if (held) release()
        held = false
      },
    }
  }

  const turn = (signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const take = (): void => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      const leave = (): void => {
        waiting.splice(waiting.indexOf(take), 1)
        reject(signal?.reason)
      }
      waiting.push(take)
      signal?.addEventListener('abort', leave, { once: true })
    })

  return {
    async acquire(signal) {
      signal?.throwIfAborted()
      if (free > 0) free -= 1
      else await turn(signal)
      return place()
    },
  }
}
