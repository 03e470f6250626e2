import type { SessionEvent } from '#contracts/events.ts'
import { sessionEvents } from '#main/sse-lines.ts'

/** An mgx that runs for a test, in whatever way. */
export type TestServer = {
  readonly url: string
  /** Where the workspaces are. */
  readonly root: string
  /** Ends it as a signal would, and starts it again on the same data, with what differs in its environment. */
  restart(more?: Readonly<Record<string, string>>): Promise<TestServer>
}

export type Accepted = { readonly run_id: string; readonly events_url: string }

export const post = async (url: string, sessionId: string, prompt: string): Promise<Accepted> => {
  const response = await fetch(`${url}/api/agent/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ session_id: sessionId, workspace_id: `${sessionId}-files`, framework: 'static', prompt }),
  })
  if (response.status !== 202) throw new Error(`${response.status}: ${await response.text()}`)
  return (await response.json()) as Accepted
}

/** The events of an address, until its stream ends. */
export const follow = async function* (address: string): AsyncGenerator<SessionEvent> {
  const response = await fetch(address, { headers: { accept: 'text/event-stream' } })
  if (response.body === null) throw new Error(`${response.status} without a body`)
  yield* sessionEvents(response.body)
}

export const getJson = async <T>(address: string): Promise<T> => {
  const response = await fetch(address, { headers: { accept: 'application/json' } })
  return (await response.json()) as T
}
