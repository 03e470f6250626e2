/** At most so many at once; the others wait their turn, first come first served. */
export type Semaphore = {
  /**
   * A place, given back by disposing it (`using`). Rejects with `signal.reason` when that aborts first.
   * `yielding`: whoever asks without it goes first, however late.
   */
  acquire(signal?: AbortSignal, yielding?: 'yielding'): Promise<Disposable>
}

type Waiting = Array<() => void>

export const createSemaphore = (places: number): Semaphore => {
  let free = places
  const waiting: Waiting = []
  const yielding: Waiting = []

  const release = (): void => {
    const next = waiting.shift() ?? yielding.shift()
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

  const turn = (queue: Waiting, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const take = (): void => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      const leave = (): void => {
        queue.splice(queue.indexOf(take), 1)
        reject(signal?.reason)
      }
      queue.push(take)
      signal?.addEventListener('abort', leave, { once: true })
    })

  return {
    async acquire(signal, late) {
      signal?.throwIfAborted()
      if (free > 0) free -= 1
      else await turn(late === undefined ? waiting : yielding, signal)
      return place()
    },
  }
}
