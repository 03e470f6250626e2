export type LogStat = {
  /** Bytes the container has written as far as we know, kept or not. */
  readonly size: number
  /** No more will come. */
  readonly complete: boolean
}

export type LogSlice = { readonly offset: number; readonly data: Uint8Array }

/** Bytes kept of a run's output: the first and the last part; what lies between is dropped. */
export const LOG_HEAD_BYTES = 1024 * 1024
export const LOG_TAIL_BYTES = 1024 * 1024

/**
 * Port: the output of containers, by run: stdout and stderr as they came. It is why logs outlive containers, and why the
 * API needs no engine.
 *
 * `append`: `data` lies at `offset` of the output. Repeatable: what is known already (an adopter reads the container's log
 *   from its first byte) is skipped; a gap (`offset` beyond `size`) is allowed and stays a gap.
 * `read`: the next kept bytes at or behind `offset`, at most `limit`; `undefined` when there are none (yet). A slice that
 *   begins behind the `offset` asked for means: what lies between was dropped.
 * `complete`: repeatable. `stat` of an unknown run: size 0, not complete.
 * Readers that follow poll `read` and `stat`.
 */
export interface RunLogs {
  append(runId: string, offset: number, data: Uint8Array): Promise<void>
  read(runId: string, offset: number, limit: number): Promise<LogSlice | undefined>
  complete(runId: string): Promise<void>
  stat(runId: string): Promise<LogStat>
}
