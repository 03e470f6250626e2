/** What became of one item of a batch. */
export type Outcome<R> =
  | { readonly kind: 'done'; readonly value: R }
  | { readonly kind: 'failed'; readonly error: unknown }
  /** Not tried: the batch stopped before it. It goes into the next one. */
  | { readonly kind: 'again' }

export type BatcherOptions<T, R> = {
  /** Writes all of them; one outcome each, in the same order. Rejecting fails them all. */
  readonly write: (items: readonly T[]) => Promise<readonly Outcome<R>[]>
  readonly maxItems: number
  /** Writes at a time. What comes meanwhile waits and goes together: the busier, the larger the batches. */
  readonly maxInFlight: number
  /** True where one bad item may have spoilt the batch, so that each of it is to be tried alone. */
  readonly tryAlone: (error: unknown) => boolean
}

type Entry<T, R> = {
  readonly item: T
  readonly resolve: (value: R) => void
  readonly reject: (error: unknown) => void
}

/** Gathers single writes into batches. An idle batcher writes at once. */
export const createBatcher = <T, R>(options: BatcherOptions<T, R>): ((item: T) => Promise<R>) => {
  const { write, maxItems, maxInFlight, tryAlone } = options
  let waiting: Entry<T, R>[] = []
  let inFlight = 0

  const settle = (entry: Entry<T, R>, outcome: Outcome<R> | undefined): boolean => {
    if (outcome?.kind === 'again') return false
    if (outcome?.kind === 'done') entry.resolve(outcome.value)
    else entry.reject(outcome?.error ?? new Error('a batch gave too few outcomes'))
    return true
  }
  const writeBatch = async (batch: readonly Entry<T, R>[]): Promise<void> => {
    try {
      const outcomes = await write(batch.map((entry) => entry.item))
      const again = batch.filter((entry, i) => !settle(entry, outcomes[i]))
      // In front: they have waited longest.
      waiting = [...again, ...waiting]
    } catch (error) {
      if (batch.length > 1 && tryAlone(error)) for (const entry of batch) await writeBatch([entry])
      else for (const entry of batch) entry.reject(error)
    }
  }
  const pump = () => {
    while (inFlight < maxInFlight && waiting.length > 0) {
      const batch = waiting.slice(0, maxItems)
      waiting = waiting.slice(maxItems)
      inFlight += 1
      void writeBatch(batch).finally(() => {
        inFlight -= 1
        pump()
      })
    }
  }
  return (item) =>
    new Promise<R>((resolve, reject) => {
      waiting.push({ item, resolve, reject })
      pump()
    })
}
