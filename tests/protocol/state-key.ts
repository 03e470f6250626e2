import type { World } from './world.ts'

/**
 * Short names for parts of a state. A state changes in one or two parts at a step, and the rest is shared, so each part is
 * written out once and known by its number after that.
 */
export const createKeys = (): ((w: World) => string) => {
  const numbers = new Map<string, number>()
  const known = new WeakMap<object, number>()
  const numberOf = (part: object, text: (part: never) => string = JSON.stringify): number => {
    const found = known.get(part)
    if (found !== undefined) return found
    const written = text(part as never)
    const number = numbers.get(written) ?? numbers.size
    numbers.set(written, number)
    known.set(part, number)
    return number
  }
  const each = (parts: Readonly<Record<string, object>>) =>
    Object.keys(parts)
      .sort()
      .map((name) => `${name}${numberOf(parts[name] as object)}`)
      .join()
  const log = (events: readonly object[]) => `log ${events.map((event) => numberOf(event)).join()}`
  return (w) => {
    const logs = Object.keys(w.logs)
      .sort()
      .map((name) => `${name}${numberOf(w.logs[name] as object, log)}`)
    const boxes = w.boxes.map((box) => numberOf(box))
    // Workers have no names of their own: two that have changed places are the same state.
    const workers = w.workers.map((worker) => numberOf(worker)).sort()
    const clients = w.clients.map((client) => numberOf(client))
    return [
      each(w.runs),
      logs,
      each(w.jobs),
      boxes,
      numberOf(w.made),
      w.away,
      workers,
      clients,
      numberOf(w.faults),
    ].join('|')
  }
}
