import type { Case } from './protocol.ts'
import type { Rule } from './rules.ts'
import type { Wish } from './world.ts'

export const generate = (run_id: string, of: Partial<Extract<Wish, { do: 'generate' }>> = {}): Wish => ({
  do: 'generate',
  run_id,
  session_id: 's',
  workspace_id: 'w',
  ...of,
})

export const cancel = (run_id: string): Wish => ({ do: 'cancel', run_id })

/** A case in which a rule is needed: with it nothing is found, without it this promise breaks. */
export type RuleCase = { readonly rule: Rule; readonly breaks: string; readonly of: Case; readonly long?: true }

export const X = { engine: 'X' } as const
export const Y = { engine: 'Y' } as const
export const JOBS = { engine: 'X', only: 'jobs' } as const
export const SLEEPER = { ...JOBS, sleeps: 'and wakes' } as const
const SLEEPER_FOR_GOOD = { ...JOBS, sleeps: 'for good' } as const

const CAN_END = 'every run can end, whatever stays broken'

/** The only worker of one engine falls silent; the next run may be meant for the other engine. */
const TWO_ENGINES: Case = {
  clients: [[generate('r1'), generate('r2')]],
  workers: [SLEEPER_FOR_GOOD, Y],
  faults: { sleep: 1 },
  hintsLast: true,
}

/** The smallest cases in which each rule is needed. */
export const RULE_CASES: readonly RuleCase[] = [
  {
    rule: 'document_after_finish',
    breaks: 'a document is finished only when finish is in the log',
    of: { clients: [[generate('r1'), cancel('r1')]], workers: [X], faults: { 'api dies': 1 } },
  },
  {
    rule: 'no_finish_over_a_cancel',
    breaks: 'a cancel that is stored before finish ends as cancelled',
    of: { clients: [[generate('r1'), cancel('r1')]], workers: [X] },
  },
  {
    rule: 'cancel_before_stopping',
    breaks: 'a cancel that is stored before finish ends as cancelled',
    of: { clients: [[generate('r1'), cancel('r1')]], workers: [JOBS], late: ['r1'], faults: { kill: 1 } },
  },
  {
    rule: 'document_copies_finish',
    breaks: 'the document says what the log says',
    of: { clients: [[generate('r1')]], workers: [X] },
  },
  {
    rule: 'user_message_first',
    breaks: 'user_message comes first',
    of: { clients: [[generate('r1')]], workers: [X], faults: { 'api dies': 1 } },
  },
  {
    rule: 'key_before_locks',
    breaks: 'a client that tries again meets its own run',
    of: { clients: [[generate('r1', { key: 'k' })]], workers: [X], faults: { 'api dies': 1 } },
  },
  {
    rule: 'finish_frees_the_lock',
    breaks: 'a run that is over holds nothing',
    of: { clients: [[generate('r1'), generate('r2')]], workers: [X] },
  },
  {
    rule: 'lock_of_its_own',
    breaks: 'exit facts are kept before a container is removed',
    of: { clients: [[generate('r1'), generate('r2')]], workers: [X] },
  },
  {
    rule: 'start_waits_by_workspace',
    breaks: 'never two containers at work on one workspace',
    of: {
      clients: [[generate('r1'), generate('r2', { session_id: 's2' })]],
      workers: [JOBS],
      late: ['r1'],
      faults: { outage: 1 },
    },
  },
  {
    rule: 'blockers_elsewhere',
    breaks: 'never two containers at work on one workspace',
    of: TWO_ENGINES,
  },
  {
    rule: 'engine_in_the_take_up',
    breaks: 'no container is at work for a run that is over',
    of: { clients: [[generate('r1')]], workers: [SLEEPER_FOR_GOOD, Y], faults: { sleep: 1 } },
  },
  {
    rule: 'stopping_first',
    breaks: 'no container is at work for a run that is over',
    of: { clients: [[generate('r1')]], workers: [SLEEPER, JOBS], late: ['r1'], faults: { sleep: 1 }, hintsLast: true },
  },
  {
    rule: 'closings_looked_at_again',
    breaks: 'what was begun is closed, once, before agent_end',
    of: { clients: [[generate('r1')]], workers: [X], tools: 1, late: ['r1'], faults: { outage: 1 } },
  },
  {
    rule: 'one_container',
    breaks: 'what a container does is in the log',
    of: { clients: [[generate('r1')]], workers: [X], faults: { crash: 1, vanish: 1 } },
  },
  {
    rule: 'queue_forgets',
    breaks: CAN_END,
    of: { clients: [[generate('r1')]], workers: [X], faults: { 'give up': 1 } },
  },
  {
    rule: 'reconcile_needs_no_slot',
    breaks: CAN_END,
    of: {
      clients: [[generate('r1'), generate('r2')]],
      workers: [SLEEPER_FOR_GOOD, X],
      faults: { sleep: 1 },
      hintsLast: true,
    },
  },
  {
    rule: 'quarantine',
    breaks: 'never two containers at work on one workspace',
    of: TWO_ENGINES,
  },
  {
    rule: 'address_by_run',
    breaks: "a container is stopped by nobody but its run's owner",
    of: { clients: [[generate('r1'), generate('r2')]], workers: [SLEEPER, JOBS], faults: { sleep: 1 } },
    long: true,
  },
]

/** Cases with all rules on. */
export const WORLDS: Readonly<Record<string, Case & { readonly long?: true }>> = {
  'a queue that forgets, doubles and gives up, and a crash': {
    clients: [[generate('r1')]],
    workers: [X],
    faults: { forget: 1, double: 1, 'give up': 1, crash: 1 },
  },
  'a runner that gets no job line, once or twice, and a crash': {
    clients: [[generate('r1')]],
    workers: [X],
    faults: { 'no line': 2, crash: 1 },
  },
  'a container that is lost and lives on, and a crash': {
    clients: [[generate('r1')]],
    workers: [X],
    tools: 1,
    faults: { lose: 1, crash: 1 },
  },
  'a queue deadline beside a take-up and a crash': {
    clients: [[generate('r1')]],
    workers: [X],
    queueLate: ['r1'],
    faults: { crash: 1 },
  },
  'a cancel beside everything, a crash of a worker and of the API': {
    long: true,
    clients: [[generate('r1')], [cancel('r1')]],
    workers: [X],
    faults: { crash: 1, 'api dies': 1 },
  },
  'a cancel and an owner that sleeps': {
    long: true,
    clients: [[generate('r1')], [cancel('r1')]],
    workers: [SLEEPER, X],
    faults: { sleep: 1 },
  },
  'an outage, a deadline and a crash': {
    long: true,
    clients: [[generate('r1')]],
    workers: [X],
    tools: 1,
    late: ['r1'],
    faults: { outage: 1, crash: 1 },
  },
  'two sessions on one workspace and an outage': {
    long: true,
    clients: [[generate('r1'), generate('r2', { session_id: 's2' })]],
    workers: [X],
    late: ['r1', 'r2'],
    faults: { outage: 1 },
  },
  'two workers that both reconcile, and a sleeper among them': {
    long: true,
    clients: [[generate('r1')]],
    workers: [
      { ...X, sleeps: 'and wakes' },
      { ...X, sleeps: 'and wakes' },
    ],
    late: ['r1'],
    faults: { sleep: 1 },
  },
  'two runs, two workers, a crash and a job that comes twice': {
    long: true,
    clients: [[generate('r1'), generate('r2')]],
    workers: [JOBS, X],
    faults: { crash: 1, double: 1 },
  },
}
