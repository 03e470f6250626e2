import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { CAUSES } from '#contracts/causes.ts'
import { encodeEvent, type SessionEvent } from '#contracts/events.ts'
import type { Run, RunResult } from '#contracts/run.ts'
import { logsOf, resultOf } from '../e2e/generate.ts'
import type { Stack } from '../e2e/stack.ts'
import { sleep, waitFor } from '../helpers.ts'
import { checkOver } from '../scheduler/check-over.ts'
import type { Watched } from './world.ts'

/** What is known of a run that is over. */
export type Over = { readonly run: Run; readonly log: readonly SessionEvent[]; readonly result: RunResult }

const PAGE = 1_000
const SETTLED_MS = 60_000

const storedLog = (stack: Stack, sessionId: string): Promise<SessionEvent[]> =>
  stack.db.collection<SessionEvent>('events').find({ session_id: sessionId }).sort({ seq: 1 }).toArray() as Promise<
    SessionEvent[]
  >

/** Counts from 1, no gap, no time that goes back; every run of the session has its place. */
const checkNumbers = (log: readonly SessionEvent[]): void => {
  assert.deepEqual(
    log.map(({ seq }) => seq),
    log.map((_, index) => index + 1),
    'seq counts from 1 without gaps',
  )
}

/** A piece that was lost or written twice shows here, whatever its id. */
export const checkMessages = (log: readonly SessionEvent[]): void => {
  const texts = new Map<string, string>()
  const counts = new Map<string, number>()
  const complete = new Set<string>()
  for (const event of log) {
    if (event.event_type === 'message_delta') {
      const { message_id: id, index, delta } = event.data
      assert.equal(index, counts.get(id) ?? 0, 'the deltas of a message count from 0 without gaps')
      counts.set(id, index + 1)
      texts.set(id, (texts.get(id) ?? '') + delta)
    } else if (event.event_type === 'message_complete') {
      const { message_id: id, content, deltas } = event.data
      assert(!complete.has(id), 'a message is completed once')
      complete.add(id)
      assert.equal(content, texts.get(id) ?? '', 'a message is what its deltas amount to')
      assert.equal(deltas, counts.get(id) ?? 0)
    }
  }
  for (const id of texts.keys()) assert(complete.has(id), 'every message that began is completed')
}

/** Live = stored = read later, byte for byte. */
const checkBytes = async (url: string, { run, client }: Watched, own: readonly SessionEvent[]): Promise<void> => {
  const late = sleep(SETTLED_MS, 'late', { ref: false })
  assert.notEqual(await Promise.race([client.done, late]), 'late', 'the client is told that no more will come')
  const stored = own.map(encodeEvent)
  assert.deepEqual(
    client.frames.map(({ data }) => data),
    stored,
    'what the client saw over all its connections is what is stored',
  )
  assert.deepEqual(
    client.frames.map(({ id, event }) => [id, event]),
    own.map(({ seq, event_type }) => [seq, event_type]),
  )
  for (let from = 0, after = 0; from < stored.length; from += PAGE) {
    const page = `${url}${run.events_url}&after=${after}&limit=${PAGE}`
    const text = await (await fetch(page, { headers: { accept: 'application/json' } })).text()
    after = own.slice(from, from + PAGE).at(-1)?.seq ?? 0
    assert.equal(text, `{"events":[${stored.slice(from, from + PAGE).join(',')}],"next_after":${after}}`)
  }
}

export const settled = (stack: Stack, runId: string): Promise<Run> =>
  waitFor(
    async () => {
      const run = await stack.db.collection<Run>('runs').findOne({ run_id: runId }, { projection: { _id: 0 } })
      return run?.state === 'finished' && run.container_gone && run
    },
    { what: `run ${runId} to be settled`, timeoutMs: SETTLED_MS },
  )

/** Logs and exit facts outlive the container. */
const checkFacts = async (stack: Stack, { run, log, result }: Over): Promise<void> => {
  if (!log.some(({ event_type }) => event_type === 'agent_start')) return
  assert.equal(typeof result.container_exit_code, 'number', 'the exit code is kept')
  assert.equal(run.exit?.code, result.container_exit_code)
  assert.match(await logsOf(stack.urls[0], run), /agent started: session /, 'the output is kept')
}

const checkRun = async (stack: Stack, watched: Watched, log: readonly SessionEvent[]): Promise<Over> => {
  const run = await settled(stack, watched.run.run_id)
  const own = log.filter(({ run_id }) => run_id === run.run_id)
  const finish = checkOver(own, run)
  assert.equal(CAUSES[finish.data.cause], finish.data.status, 'finish is typed')
  checkMessages(own)
  await checkBytes(stack.urls[0], watched, own)
  const over = { run, log: own, result: await resultOf(stack.urls[0], watched.run) }
  assert.deepEqual(over.result, run.result)
  if (!watched.removed) await checkFacts(stack, over)
  return over
}

/** Jobs that wait, are worked on or come later, by BullMQ's keys. */
export const jobs = async ({ redis: { url }, installation }: Stack): Promise<string[]> => {
  const client = new Redis(url)
  const key = (kind: string) => `${installation}:runs:${kind}`
  try {
    const lists = await Promise.all([client.lrange(key('wait'), 0, -1), client.lrange(key('active'), 0, -1)])
    return [...lists.flat(), ...(await client.zrange(key('delayed'), '0', '-1'))]
  } finally {
    client.disconnect()
  }
}

/** Nothing of the installation is left at work: no container, no socket, no job. */
export const checkNothingLeft = async (stack: Stack): Promise<void> => {
  assert.deepEqual(
    (await stack.containers()).map(({ Names }) => Names),
    [],
    'no container is left',
  )
  const sockets = await readdir(join(stack.root, '.mgx')).catch(() => [])
  assert.deepEqual(sockets, [], "no run's socket is left")
  await waitFor(async () => (await jobs(stack)).length === 0, {
    what: 'the queue to be empty',
    timeoutMs: SETTLED_MS,
  })
}

/**
 * What is promised of these runs and all others of their sessions: each accepted run has exactly one `finish`, typed, the last of
 * its run; `seq` has no gaps; what a client put together over all its connections is the stored log byte for byte; nothing was
 * lost or said twice; result, output and exit facts are there.
 */
export const checkRuns = async (stack: Stack, ...watched: readonly Watched[]): Promise<Over[]> => {
  for (const each of watched) await settled(stack, each.run.run_id)
  const logs = new Map<string, SessionEvent[]>()
  for (const id of new Set(watched.map(({ run }) => run.session_id))) {
    const log = await storedLog(stack, id)
    checkNumbers(log)
    logs.set(id, log)
    const accepted = await stack.db.collection<Run>('runs').distinct('run_id', { session_id: id })
    const finished = log.filter(({ event_type }) => event_type === 'finish').map(({ run_id }) => run_id)
    assert.deepEqual(finished.sort(), accepted.sort(), 'every accepted run of the session has one finish')
  }
  return Promise.all(watched.map((each) => checkRun(stack, each, logs.get(each.run.session_id) ?? [])))
}

/** All promises: of these runs, which are all that there were, and that nothing of the installation is left. */
export const checkPromises = async (stack: Stack, ...watched: readonly Watched[]): Promise<Over[]> => {
  const over = await checkRuns(stack, ...watched)
  await checkNothingLeft(stack)
  return over
}

/** The run's one command was run once: no second runner has worked on it. */
export const ranOnce = async (stack: Stack, ...watched: readonly Watched[]): Promise<void> => {
  const workspaces = [...new Set(watched.map(({ run }) => run.session_id))]
  for (const workspace of workspaces) {
    const lines = (await readFile(join(stack.root, workspace, 'ran.txt'), 'utf8')).trim().split('\n')
    const turns = watched.filter(({ run }) => run.session_id === workspace).length
    assert.deepEqual(lines, Array(turns).fill('ran'), 'each run did its work once')
  }
}
