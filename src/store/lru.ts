/** A map that forgets what was used least lately. */
export type Lru<K, V> = {
  get(key: K): V | undefined
  set(key: K, value: V): void
  delete(key: K): void
}

export const createLru = <K, V>(max: number): Lru<K, V> => {
  // A Map keeps the order of insertion: the first one is the oldest.
  const entries = new Map<K, V>()
  const set = (key: K, value: V) => {
    entries.delete(key)
    entries.set(key, value)
    if (entries.size <= max) return
    const oldest = entries.keys().next()
    if (!oldest.done) entries.delete(oldest.value)
  }
  return {
    get(key) {
      const value = entries.get(key)
      if (value !== undefined) set(key, value)
      return value
    },
    set,
    delete: (key) => void entries.delete(key),
  }
}
