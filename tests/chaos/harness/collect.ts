import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Filter } from 'mongodb'
import type { SessionEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import { logsOf, resultOf } from '../../e2e/generate.ts'
import { sleep, waitFor } from '../../helpers.ts'
import type { Client } from './clients.ts'
import type { ClientEvidence, RunEvidence, SessionEvidence } from './evidence.ts'
import type { House } from './house.ts'
import { CAUSE_OF, RAN_FILE } from './prompts.ts'
import type { Accepted } from './sessions.ts'
import type { Touches } from './touches.ts'

/** A run whose owner has died, and whose ending meets an outage, is over by then. */
const SETTLED_MS = 240_000
/** A client that has everything is told so at its next connection. */
const TOLD_MS = 60_000

const unsettled: Filter<Run> = { $or: [{ state: { $ne: 'finished' } }, { container_gone: false }] }

/** Resolves when every run of the house is over, or when that has taken too long: then the verdict says so. */
export const untilSettled = async ({ stack }: House): Promise<void> => {
  const runs = stack.db.collection<Run>('runs')
  const none = async () => (await runs.countDocuments(unsettled)) === 0
  await waitFor(none, { what: 'every run to be settled', timeoutMs: SETTLED_MS, everyMs: 500 }).catch(() => {})
}

const clientEvidence = async ({ name, follower }: Client): Promise<ClientEvidence> => {
  const over = follower.done.then(
    () => 'told',
    (error: unknown) => String(error),
  )
  const how = await Promise.race([over, sleep(TOLD_MS, 'silent', { ref: false })])
  const refusal = how === 'told' || how === 'silent' ? {} : { refusal: how }
  return { name, frames: follower.frames, told: how === 'told', ...refusal }
}

const linesOf = async (path: string): Promise<string[]> =>
  (await readFile(path, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '')

type Known = { readonly house: House; readonly touches: Touches }

const runEvidence = async (
  { house: { stack }, touches }: Known,
  run: Run,
  accepted: Accepted | undefined,
): Promise<RunEvidence> => {
  const lines = accepted ? await linesOf(join(stack.root, accepted.workspace_id, RAN_FILE)) : []
  const result = run.state === 'finished' ? await resultOf(stack.urls[0], run).catch(() => undefined) : undefined
  return {
    run,
    worked: lines.filter((line) => line === accepted?.label).length,
    clients: await Promise.all((accepted?.clients ?? []).map(clientEvidence)),
    result,
    output: await logsOf(stack.urls[0], run),
    excused: touches.excuse(run),
    ...(accepted && !touches.isTouched(run) && { expected: CAUSE_OF[accepted.plan.manner] }),
  }
}

/** Everything of one house, by session. */
export const collect = async (
  house: House,
  accepted: readonly Accepted[],
  touches: Touches,
): Promise<SessionEvidence[]> => {
  const { db } = house.stack
  const runs = await db
    .collection<Run>('runs')
    .find({}, { projection: { _id: 0 } })
    .toArray()
  const sessions: SessionEvidence[] = []
  for (const session_id of new Set(runs.map((run) => run.session_id))) {
    const log = await db.collection<SessionEvent>('events').find({ session_id }).sort({ seq: 1 }).toArray()
    const own = runs.filter((run) => run.session_id === session_id)
    const known = { house, touches }
    const evidence = own.map((run) =>
      runEvidence(
        known,
        run,
        accepted.find(({ run_id }) => run_id === run.run_id),
      ),
    )
    sessions.push({ session_id, log: log as SessionEvent[], runs: await Promise.all(evidence) })
  }
  return sessions
}
