import { randomUUID } from 'node:crypto'
import { openSse } from './sse-client.ts'
import type { Stack } from './stack.ts'

/** What a client saw of one session. */
export type Seen = {
  /** Milliseconds from the POST to `agent_start`. */
  readonly startMs: number
  /** Milliseconds from the POST to `finish`. */
  readonly finishMs: number
  /** As `run_state` gave it. */
  readonly reason: string | undefined
}

const toMs = (from: bigint, to: bigint): number => Number(to - from) / 1e6

/** One whole session as a client of the event stream sees it. Rejects when it ends without `agent_start` or not well. */
export const runSession = async ({ url }: Stack): Promise<Seen> => {
  const session = `b-${randomUUID().slice(0, 12)}`
  const body = { session_id: session, workspace_id: session, framework: 'static', prompt: 'bench' }
  const posted = process.hrtime.bigint()
  let start: bigint | undefined
  let finish: { readonly at: bigint; readonly data: string } | undefined
  let reason: string | undefined
  for await (const frame of openSse(`${url}/api/agent/generate`, { method: 'POST', body })) {
    if (frame.event === 'agent_start') start ??= frame.at
    if (frame.event === 'run_state') reason = JSON.parse(frame.data).data.reason ?? reason
    if (frame.event === 'finish') finish = frame
  }
  if (start === undefined || finish === undefined) throw new Error(`session ${session} had no agent_start or no finish`)
  const { status, error } = JSON.parse(finish.data).data
  if (status !== 'success') throw new Error(`session ${session} ended as ${status}: ${error}`)
  return { startMs: toMs(posted, start), finishMs: toMs(posted, finish.at), reason }
}

/** So many sessions posted at once. */
export const burst = (stack: Stack, size: number): Promise<Seen[]> =>
  Promise.all(Array.from({ length: size }, () => runSession(stack)))
