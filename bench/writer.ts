import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { RunRef } from '#contracts/events.ts'

export type Channel =
  | { readonly kind: 'gateway'; readonly url: string; readonly token: string }
  | { readonly kind: 'direct'; readonly url: string; readonly db: string }
  /** A bare insert, as the floor. */
  | { readonly kind: 'bare'; readonly url: string; readonly db: string }

export type WriterJob = {
  readonly run: RunRef
  readonly channel: Channel
  /** Number of the first event: those of one run are numbered on. */
  readonly first: number
  readonly events: number
  /** Events handed over together. */
  readonly batch: number
  /** Between two batches; 0 = as fast as they are taken. */
  readonly everyMs: number
}

/** Runs a writer (bench/sink-writer.ts) to its end. */
export const runWriter = async (job: WriterJob): Promise<void> => {
  const file = join(import.meta.dirname, 'sink-writer.ts')
  const writer = spawn(process.execPath, [file, JSON.stringify(job)], { stdio: ['ignore', 'inherit', 'inherit'] })
  const [code] = await once(writer, 'exit')
  if (code !== 0) throw new Error(`the writer of events ended with ${code}`)
}
