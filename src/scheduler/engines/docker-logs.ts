import type { Readable } from 'node:stream'
import { RUNNER_READY } from '#contracts/job.ts'
import { askUnless, CALL_MS, containersOf, type Daemon } from './docker-daemon.ts'
import { callError } from './docker-errors.ts'
import type { SandboxRef } from './engine.ts'

/** A frame's head: stream number, three zeros, length of the payload (big endian), then the payload. */
const HEAD_BYTES = 8
const LENGTH_AT = 4

const joined = (parts: readonly Uint8Array[]): Uint8Array | undefined =>
  parts.length > 1 ? Buffer.concat(parts) : parts[0]

/**
 * The payloads of Docker's multiplexed log stream, stdout and stderr as they come. Reads on only when it is asked to, copies
 * a payload at most once and never holds more than one chunk, whatever the frames are like. Rejects when `chunks` ends
 * within a frame.
 */
export async function* demultiplex(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const head = Buffer.alloc(HEAD_BYTES)
  let headBytes = 0
  let left = 0
  for await (const chunk of chunks) {
    const parts: Uint8Array[] = []
    for (let at = 0; at < chunk.byteLength; ) {
      if (left > 0) {
        const part = chunk.subarray(at, at + left)
        parts.push(part)
        at += part.byteLength
        left -= part.byteLength
        continue
      }
      const part = chunk.subarray(at, at + HEAD_BYTES - headBytes)
      head.set(part, headBytes)
      at += part.byteLength
      headBytes += part.byteLength
      if (headBytes < HEAD_BYTES) continue
      left = head.readUInt32BE(LENGTH_AT)
      headBytes = 0
    }
    const payload = joined(parts)
    if (payload) yield payload
  }
  if (left > 0 || headBytes > 0) throw new Error('the log stream was cut off within a frame')
}

/** No boot says more than this before it is ready: a log that has rotated has lost the line. */
const BOOT_MAX_BYTES = 64 * 1024

/** A slot's output behind its ready line: what it printed before belongs to no run. */
export async function* afterReady(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let boot: Buffer | undefined = Buffer.alloc(0)
  for await (const chunk of chunks) {
    if (boot === undefined) {
      yield chunk
      continue
    }
    boot = Buffer.concat([boot, chunk])
    const at = boot.indexOf(`${RUNNER_READY}\n`)
    if (at === -1 && boot.byteLength <= BOOT_MAX_BYTES) continue
    const rest = at === -1 ? boot : boot.subarray(at + RUNNER_READY.length + 1)
    boot = undefined
    if (rest.byteLength > 0) yield rest
  }
}

/** Container gone, or marked for removal: nothing to read any more. */
const NO_LOGS = [404, 409]

/** `SandboxEngine.logs`. */
export async function* containerLogs(daemon: Daemon, ref: SandboxRef, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  if (signal.aborted) return
  const [found] = await containersOf(daemon, ref)
  if (!found) return
  const container = daemon.docker.getContainer(found.containerId)
  const stream = (await askUnless(NO_LOGS, CALL_MS, (abortSignal) =>
    container.logs({ follow: true, stdout: true, stderr: true, abortSignal }),
  )) as Readable | undefined
  if (!stream) return
  const leave = (): void => void stream.destroy()
  signal.addEventListener('abort', leave, { once: true })
  try {
    if (!signal.aborted) yield* found.slot === undefined ? demultiplex(stream) : afterReady(demultiplex(stream))
  } catch (error) {
    if (!signal.aborted) throw callError(error)
  } finally {
    signal.removeEventListener('abort', leave)
    leave()
  }
}
