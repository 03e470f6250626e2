/** Levels of nesting that are stored as they are; MongoDB takes 200 of a whole document. */
const MAX_DEPTH = 100

const isOdd = (key: string): boolean => key === '_bsontype' || key.includes('\0')

const keep = (value: unknown, depth: number): unknown => {
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  if (depth > MAX_DEPTH) return JSON.stringify(value)
  if (Array.isArray(value)) {
    const items = value.map((item) => keep(item, depth + 1))
    return items.every((item, i) => item === value[i]) ? value : items
  }
  const entries = Object.entries(value)
  if (entries.some(([key]) => isOdd(key))) return JSON.stringify(value)
  const kept = entries.map(([key, item]) => [key, keep(item, depth + 1)] as const)
  return kept.every(([, item], i) => item === entries[i]?.[1]) ? value : Object.fromEntries(kept)
}

/**
 * Any JSON in a form that BSON can hold: what it cannot (keys with a zero byte, a key that the driver takes for a type of
 * its own, very deep nesting) becomes its JSON text. A model decides what lies in a tool's input, and one odd value must not
 * keep a run from being stored. Gives back `value` itself where nothing is odd.
 */
export const toStorable = <T>(value: T): T => keep(value, 0) as T
