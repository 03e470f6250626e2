import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { SessionEvent, SessionEventOf } from '#contracts/events.ts'
import type { RunResult } from '#contracts/run.ts'
import { waitFor } from '../helpers.ts'
import { follow, getJson, post, type TestServer } from './client.ts'

/** Starts mgx in one of its ways; everything is gone after the test. */
export type OpenMgx = (t: TestContext, env?: Readonly<Record<string, string>>) => Promise<TestServer>

export const LIMIT = { timeout: 120_000 }

const collect = async (address: string): Promise<SessionEvent[]> => Array.fromAsync(follow(address))

const finishOf = (events: readonly SessionEvent[]): SessionEventOf<'finish'> => {
  const found = events.filter((event) => event.event_type === 'finish')
  assert.equal(found.length, 1, 'one finish')
  assert.equal(events.at(-1), found[0], 'and it is the last')
  return found[0] as SessionEventOf<'finish'>
}

const resultOf = (url: string, sessionId: string, runId: string): Promise<RunResult> =>
  waitFor(
    async () => {
      const response = await fetch(`${url}/api/agent/sessions/${sessionId}/runs/${runId}/result`)
      return response.status === 200 && ((await response.json()) as RunResult)
    },
    { what: 'the result' },
  )

const typesOf = (events: readonly SessionEvent[]): string[] => [
  ...new Set(events.map((event) => event.event_type as string)),
]

/** Prompt in, events, result, log and files out; then a second prompt in the same session. */
export const promptToFiles = async ({ url, root }: TestServer): Promise<void> => {
  const first = await post(url, 'one', 'Make a page')
  const live = await collect(`${url}${first.events_url}`)

  assert.deepEqual(
    live.map((event) => event.seq),
    live.map((_, index) => index + 1),
    'numbered from 1 without gaps',
  )
  assert.equal(typesOf(live)[0], 'user_message')
  for (const type of ['run_state', 'agent_start', 'message_delta', 'message_complete', 'tool_start', 'tool_end']) {
    assert.ok(typesOf(live).includes(type), type)
  }
  assert.equal(finishOf(live).data.cause, 'completed')

  const page = await getJson<{ events: unknown[] }>(`${url}/api/agent/sessions/one/events?limit=1000`)
  assert.deepEqual(page.events, JSON.parse(JSON.stringify(live)), 'read later = seen live')

  const result = await resultOf(url, 'one', first.run_id)
  assert.equal(result.status, 'success')
  assert.equal(result.container_exit_code, 0)
  const log = await fetch(`${url}/api/agent/sessions/one/runs/${first.run_id}/logs`)
  assert.match(await log.text(), /agent started: session one/)

  const files = join(root, 'one-files')
  const names = (await readdir(files)).filter((name) => !name.startsWith('.'))
  assert.deepEqual(names.sort(), ['index.html', 'script.js', 'style.css'])
  const second = await post(url, 'one', 'Add <this>')
  assert.equal(finishOf(await collect(`${url}${second.events_url}`)).data.cause, 'completed')
  assert.match(await readFile(join(files, 'index.html'), 'utf8'), /<li>Add &lt;this&gt;<\/li>/)
}

/** A run that is at work is stopped; the session takes the next one. */
export const stopAndGoOn = async ({ url }: TestServer): Promise<void> => {
  const run = await post(url, 'two', 'Make a page')
  const events: SessionEvent[] = []
  for await (const event of follow(`${url}${run.events_url}`)) {
    events.push(event)
    if (event.event_type !== 'agent_start') continue
    const stopped = await fetch(`${url}/api/agent/sessions/two/stop`, { method: 'POST' })
    assert.equal(stopped.status, 202)
  }
  assert.equal(finishOf(events).data.cause, 'cancelled')
  const again = await post(url, 'two', 'Make a page after all')
  assert.equal(finishOf(await collect(`${url}${again.events_url}`)).data.cause, 'completed')
}

/** One run is at work and one waits, in an mgx of one place, when everything is ended by SIGTERM and started again. */
export const surviveRestart = async (before: TestServer): Promise<void> => {
  const working = await post(before.url, 'three', 'Make a page')
  for await (const event of follow(`${before.url}${working.events_url}`)) {
    if (event.event_type === 'agent_start') break
  }
  const waiting = await post(before.url, 'four', 'Make another')
  const { url } = await before.restart()
  for (const run of [working, waiting]) {
    const events = await collect(`${url}${run.events_url}`)
    const finish = finishOf(events)
    assert.equal(finish.data.cause, 'completed', finish.data.error ?? '')
    assert.equal(events.filter((event) => event.event_type === 'agent_start').length, 1)
  }
}

/** The main job through the door. */
export const mainJobSuite = (open: OpenMgx): void => {
  test('a prompt becomes events, a result, a log and files; a second one goes on from there', LIMIT, async (t) => {
    await promptToFiles(await open(t))
  })
  test('stop ends a run that is at work as cancelled, and its session is free', LIMIT, async (t) => {
    await stopAndGoOn(await open(t))
  })
  test('a run at work and one that waits survive a restart', LIMIT, async (t) => {
    await surviveRestart(await open(t, { WORKER_CONCURRENCY: '1' }))
  })
}
