import assert from 'node:assert/strict'
import type { SessionEvent, SessionEventOf } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'

/** Every promise that the log and the document make for a run that is over. */
export const checkOver = (log: readonly SessionEvent[], run: Run): SessionEventOf<'finish'> => {
  const own = log.filter((event) => event.run_id === run.run_id)
  const finishes = own.filter((event) => event.event_type === 'finish')
  assert.equal(finishes.length, 1, 'exactly one finish')
  const finish = own.at(-1)
  assert(finish?.event_type === 'finish', 'finish is the last event of its run')
  assert.equal(own[0]?.event_type, 'user_message', 'user_message is the first')
  assert.equal(run.state, 'finished')
  assert.equal(run.lock, false)
  assert.equal(run.result?.cause, finish.data.cause, 'the document says what the log says')
  assert.equal(run.result?.status, finish.data.status)
  assert.equal(run.result?.error, finish.data.error)
  const cancel = own.findIndex((event) => event.event_type === 'cancel_requested')
  if (cancel >= 0) assert.equal(finish.data.cause, 'cancelled', 'a cancel before finish ends as cancelled')
  const tools = (type: string) =>
    own.flatMap((event) => (event.event_type === type && 'tool_call_id' in event.data ? [event.data.tool_call_id] : []))
  assert.deepEqual(tools('tool_end').sort(), tools('tool_start').sort(), 'every tool is closed, once')
  const count = (type: string) => own.filter((event) => event.event_type === type).length
  assert.equal(count('agent_end'), count('agent_start'), 'the agent is closed, once')
  return finish
}
