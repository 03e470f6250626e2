import { LOG_HEAD_BYTES, LOG_TAIL_BYTES, type LogSlice } from './run-logs.ts'

/** The most bytes one stored piece has: it bounds how much more than head and tail is kept. */
export const CHUNK_BYTES = 64 * 1024

export type Chunk = { readonly offset: number; readonly data: Uint8Array }

/**
 * Cuts what is new of `data` into pieces; none lies across the end of the head, so that the middle can be dropped whole.
 * @param size where the known output ends
 */
export const cutChunks = (offset: number, data: Uint8Array, size: number): Chunk[] => {
  const chunks: Chunk[] = []
  const end = offset + data.byteLength
  let at = Math.max(offset, size)
  while (at < end) {
    const headEnd = at < LOG_HEAD_BYTES ? LOG_HEAD_BYTES : Number.POSITIVE_INFINITY
    const stop = Math.min(end, at + CHUNK_BYTES, headEnd)
    chunks.push({ offset: at, data: data.subarray(at - offset, stop - offset) })
    at = stop
  }
  return chunks
}

/**
 * Pieces that begin in `[from, before)` lie in the dropped middle of an output of `size` bytes: they end before the tail
 * begins. Empty when nothing is to be dropped. It grows in steps, so that not every append has something to drop.
 */
export const droppedRange = (size: number): { from: number; before: number } => {
  const steps = Math.floor((size - LOG_TAIL_BYTES - CHUNK_BYTES) / CHUNK_BYTES)
  return { from: LOG_HEAD_BYTES, before: Math.max(LOG_HEAD_BYTES, steps * CHUNK_BYTES + 1) }
}

/** What of `chunk` a reader gets who asked for `limit` bytes from `offset` on; `undefined` when it ends before. */
export const sliceOf = (chunk: Chunk, offset: number, limit: number): LogSlice | undefined => {
  const skip = Math.max(0, offset - chunk.offset)
  if (skip >= chunk.data.byteLength) return undefined
  return { offset: chunk.offset + skip, data: chunk.data.subarray(skip, skip + limit) }
}
