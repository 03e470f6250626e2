import { readFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'

/** A process, told apart from a later one with the same number by when it began (clock ticks since boot). */
export type ProcessId = { readonly pid: number; readonly start: number }

type Stat = ProcessId & { readonly state: string; readonly parent: number }

/** proc(5): the name in parentheses may hold anything, so fields are counted from its end; `state` is field 3. */
const FIELD_STATE = 3
const FIELD_PARENT = 4
const FIELD_START = 22

const parse = (pid: number, text: string): Stat => {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const field = (number: number): string => fields[number - FIELD_STATE] ?? ''
  return { pid, state: field(FIELD_STATE), parent: Number(field(FIELD_PARENT)), start: Number(field(FIELD_START)) }
}

const statPath = (pid: number): string => `/proc/${pid}/stat`

/** @returns `undefined` when there is no such process (any more) */
const statOf = async (pid: number): Promise<Stat | undefined> => {
  const text = await readFile(statPath(pid), 'latin1').catch(() => undefined)
  return text === undefined ? undefined : parse(pid, text)
}

/**
 * This process, or a child that was spawned in this very turn of the event loop: synchronous, because Node reaps a child
 * that ends at once in the next turn, and its number means nothing then. Throws when there is no such process.
 */
export const identify = (pid: number): ProcessId => {
  const { start } = parse(pid, readFileSync(statPath(pid), 'latin1'))
  return { pid, start }
}

/** False for a zombie: it does nothing any more. */
export const isAlive = async ({ pid, start }: ProcessId): Promise<boolean> => {
  const stat = await statOf(pid)
  return stat !== undefined && stat.start === start && stat.state !== 'Z' && stat.state !== 'X'
}

/** Every process that descends from `pid` now, also in groups and sessions of their own. */
export const descendants = async (pid: number): Promise<ProcessId[]> => {
  const numbers = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const all = (await Promise.all(numbers.map(statOf))).filter((stat) => stat !== undefined)
  const family = new Set([pid])
  const found: ProcessId[] = []
  for (let before = 0; before < family.size; ) {
    before = family.size
    for (const { pid: child, parent, start } of all) {
      if (!family.has(parent) || family.has(child)) continue
      family.add(child)
      found.push({ pid: child, start })
    }
  }
  return found
}

/** Another after each boot of the machine, when process numbers and their times begin anew. */
export const bootId = async (): Promise<string> => (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()

/** Sends a signal to a process, or with `group` to its whole group, unless it is another one by now. */
export const signalProcess = async (id: ProcessId, signal: NodeJS.Signals, group = false): Promise<void> => {
  if (!(await isAlive(id))) return
  try {
    process.kill(group ? -id.pid : id.pid, signal)
  } catch {
    // Gone since we looked, or of another user (sudo): then it is not ours to end.
  }
}
