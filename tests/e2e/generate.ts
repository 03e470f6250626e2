import type { GenerateBody } from '#contracts/http.ts'
import type { RunResult } from '#contracts/run.ts'
import { waitFor } from '../helpers.ts'

export type Answer = { readonly session_id: string; readonly run_id: string; readonly events_url: string }

/** POST generate as it goes over the wire; workspace and framework have a default here. */
export const postGenerate = (
  url: string,
  body: Pick<GenerateBody, 'session_id' | 'prompt'> & Partial<GenerateBody>,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> =>
  fetch(`${url}/api/agent/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ workspace_id: body.session_id, framework: 'static', ...body }),
  })

/** The 202; rejects at any other answer. */
export const generate = async (...asked: Parameters<typeof postGenerate>): Promise<Answer> => {
  const response = await postGenerate(...asked)
  if (response.status !== 202) throw new Error(`generate answered ${response.status}: ${await response.text()}`)
  return (await response.json()) as Answer
}

type Ran = Pick<Answer, 'session_id' | 'run_id'>

const runUrl = (url: string, { session_id, run_id }: Ran) => `${url}/api/agent/sessions/${session_id}/runs/${run_id}`

/** The result JSON, waited for. */
export const resultOf = (url: string, run: Ran, timeoutMs = 60_000): Promise<RunResult> =>
  waitFor(
    async () => {
      const response = await fetch(`${runUrl(url, run)}/result`)
      return response.status === 200 && ((await response.json()) as RunResult)
    },
    { what: `the result of ${run.run_id}`, timeoutMs },
  )

export const logsOf = async (url: string, run: Ran): Promise<string> => (await fetch(`${runUrl(url, run)}/logs`)).text()

export const stopRun = (url: string, { session_id }: Pick<Ran, 'session_id'>): Promise<Response> =>
  fetch(`${url}/api/agent/sessions/${session_id}/stop`, { method: 'POST' })
