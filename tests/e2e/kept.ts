import assert from 'node:assert/strict'
import type { SessionEvent, SessionEventOf } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import { waitFor } from '../helpers.ts'
import { checkOver } from '../scheduler/check-over.ts'
import type { Answer } from './generate.ts'
import type { Stack } from './stack.ts'

export const runDocument = async ({ db }: Stack, { run_id }: Pick<Answer, 'run_id'>): Promise<Run | null> =>
  db.collection<Run>('runs').findOne({ run_id })

/** The session's log as it lies in MongoDB, by the query of the user's document: in the order of time, which is that of `seq`. */
export const logOf = ({ db }: Stack, { session_id }: Pick<Answer, 'session_id'>): Promise<SessionEvent[]> =>
  db.collection<SessionEvent>('events').find({ session_id }).sort({ timestamp: 1 }).toArray()

/**
 * Waits for the run to be over in every respect, then holds what was promised of it: the log without gaps, one `finish` that
 * the document repeats, everything closed, and no container left.
 */
export const kept = async (stack: Stack, run: Answer, timeoutMs = 60_000): Promise<SessionEventOf<'finish'>> => {
  const over = await waitFor(
    async () => {
      const found = await runDocument(stack, run)
      return found?.state === 'finished' && found
    },
    { what: `run ${run.run_id} to be over`, timeoutMs },
  )
  const log = await logOf(stack, run)
  assert.deepEqual(
    log.map(({ seq }) => seq),
    log.map((_, index) => index + 1),
    'numbered from 1 without gaps',
  )
  const containers = await stack.containers()
  assert.deepEqual(
    containers.filter(({ Labels }) => Object.values(Labels).includes(run.run_id)).map(({ Names }) => Names),
    [],
    'the container is gone',
  )
  return checkOver(log, over)
}
