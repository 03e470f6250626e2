/** Rules of the protocol that a case can turn off, with what then goes wrong (V…: research/protocol.md). */
export const RULES = {
  document_after_finish: 'V1: a cancelled queued run becomes finished in the document first',
  no_finish_over_a_cancel: 'V2: the runner writes its finish whatever else was asked for',
  cancel_before_stopping: 'V3: the ender says what it saw, and not that a cancel was stored',
  document_copies_finish: 'V4: the document says what the worker saw, not what the log says',
  user_message_first: 'V5: only the API writes user_message',
  key_before_locks: 'V6: the index that the database names decides, not the idempotency key',
  finish_frees_the_lock: 'V7: the lock stands until the document is finished',
  lock_of_its_own: 'V7: a run that holds the lock is made finished to free it',
  start_waits_by_workspace: 'V8: a start waits for containers of its own session only',
  blockers_elsewhere: 'V9: a run starts though another engine may still have a container on its workspace',
  engine_in_the_take_up: 'V9: a worker takes a run up that another engine has',
  stopping_first: 'V10: the engine is asked before the log says that the run is being ended',
  closings_looked_at_again: 'V11: what is open is listed once, and closed whatever comes between',
  one_container: 'V12: a container that is gone is replaced by another',
  queue_forgets: 'V13: a job that is over is not replaced',
  reconcile_needs_no_slot: 'V13: reconcile leaves the ending to a worker slot',
  quarantine: 'V14: a workspace opens although the lost container may still be at work',
  address_by_run: 'sanity: containers are stopped and removed by name, whoever they belong to',
} as const

export type Rule = keyof typeof RULES
