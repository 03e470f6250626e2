import { setTimeout as sleep } from 'node:timers/promises'
import type { SessionEvent } from '#contracts/events.ts'
import type { GenerateBody } from '#contracts/http.ts'
import { sessionEvents } from './sse-lines.ts'
import { StartError } from './start-error.ts'

/** The demo talks to the API as any client would: over HTTP, with nothing up its sleeve. */

const RETRY_MS = 500

type Accepted = { readonly run_id: string; readonly events_url: string }

const refusal = async (response: Response): Promise<StartError> => {
  const { message, remediation } = (await response.json().catch(() => ({}))) as Record<string, string | undefined>
  return new StartError(message ?? `the API answered ${response.status}`, remediation ?? 'See the log of the server.')
}

export const generate = async (url: string, body: GenerateBody): Promise<Accepted> => {
  const response = await fetch(`${url}/api/agent/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (!response.ok) throw await refusal(response)
  return (await response.json()) as Accepted
}

export const stop = async (url: string, sessionId: string): Promise<void> => {
  await fetch(`${url}/api/agent/sessions/${sessionId}/stop`, { method: 'POST' })
}

/** Every event of the run up to its `finish`, over as many connections as it takes: each goes on behind the last `seq`. */
export const follow = async function* (url: string, run: Accepted): AsyncGenerator<SessionEvent> {
  for (let after = 0; ; ) {
    const query = new URLSearchParams({ run_id: run.run_id, after: String(after) })
    const address = new URL(run.events_url, url)
    try {
      const response = await fetch(`${address.origin}${address.pathname}?${query}`, {
        headers: { accept: 'text/event-stream' },
      })
      if (!response.ok || response.body === null) throw await refusal(response)
      for await (const event of sessionEvents(response.body)) {
        after = event.seq
        yield event
        if (event.event_type === 'finish') return
      }
    } catch (error) {
      if (error instanceof StartError) throw error
    }
    await sleep(RETRY_MS)
  }
}
