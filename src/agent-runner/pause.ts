import { setTimeout as wait } from 'node:timers/promises'

/** Waits; resolves early, without throwing, when `signal` aborts. */
export const pause = async (ms: number, signal: AbortSignal): Promise<void> => {
  await wait(ms, undefined, { signal }).catch(() => undefined)
}

/** The n-th pause (from 0) of a growing series, with jitter: `first`, then twice as long each time, at most `max`. */
export const backOff = (n: number, first: number, max: number): number =>
  Math.min(max, first * 2 ** Math.min(n, 30)) * (0.75 + Math.random() / 2)
