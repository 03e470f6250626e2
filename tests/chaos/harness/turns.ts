/** Who has something in hand, by name: one after the other for the same thing, all at once for different ones. */
export type Turns = {
  take(name: string): Promise<Disposable>
  isTaken(name: string): boolean
}

export const createTurns = (): Turns => {
  const last = new Map<string, Promise<void>>()
  return {
    async take(name) {
      const before = last.get(name)
      const { promise, resolve } = Promise.withResolvers<void>()
      last.set(name, promise)
      await before
      return {
        [Symbol.dispose]() {
          if (last.get(name) === promise) last.delete(name)
          resolve()
        },
      }
    },
    isTaken: (name) => last.has(name),
  }
}
