import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { SandboxExit } from '#contracts/run.ts'
import { pause } from '../patience.ts'
import { exitFrom, LOST } from './exit-reason.ts'
import { type Box, FILES, stateOf } from './process-state.ts'

const POLL_MS = 50
const READ_BYTES = 64 * 1024
const UNSTARTED_MS = 30_000

/** `SandboxEngine.wait`. */
export const waitForProcess = async (box: Box | undefined, signal: AbortSignal): Promise<SandboxExit> => {
  const since = Date.now()
  for (;;) {
    signal.throwIfAborted()
    const state = box && (await stateOf(box))
    if (!state || state.kind === 'lost') return LOST
    if (state.kind === 'over') return exitFrom(state.code, false)
    if (state.kind === 'unstarted' && Date.now() - since > UNSTARTED_MS) return LOST
    await pause(POLL_MS, signal)
  }
}

/** `SandboxEngine.logs`: the file, followed until the runner is over. */
export async function* processLogs(box: Box, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const file = await open(join(box.dir, FILES.output)).catch(() => undefined)
  if (!file) return
  try {
    for (let at = 0; !signal.aborted; ) {
      // Asked before reading: what was written before the end is then read for certain.
      const { kind } = await stateOf(box)
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(READ_BYTES), 0, READ_BYTES, at)
      at += bytesRead
      if (bytesRead > 0) yield buffer.subarray(0, bytesRead)
      else if (kind === 'over' || kind === 'lost') return
      else await pause(POLL_MS, signal).catch(() => {})
    }
  } finally {
    await file.close()
  }
}
