import { createHash } from 'node:crypto'

/** Numbers that follow from a seed and a name alone, whatever else is drawn. */
export type Random = {
  /** From 0, below 1. */
  next(): number
  /** A whole number, both ends included. */
  whole(from: number, to: number): number
  one<T>(list: readonly [T, ...T[]]): T
  chance(of: number): boolean
}

/** Bytes of a hash that make a number: 2^48 is below what a double holds exactly. */
const BYTES = 6

export const createRandom = (seed: number, name: string): Random => {
  let drawn = 0
  const next = () => {
    const digest = createHash('sha256').update(`${seed} ${name} ${drawn++}`).digest()
    return digest.readUIntBE(0, BYTES) / 2 ** (8 * BYTES)
  }
  const whole: Random['whole'] = (from, to) => from + Math.floor(next() * (to - from + 1))
  return { next, whole, one: (list) => list[whole(0, list.length - 1)] ?? list[0], chance: (of) => next() < of }
}
