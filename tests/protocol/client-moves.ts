import { eventIds, makeEvent } from '#contracts/events.ts'
import type { NewRun, Run, Session } from '#contracts/run.ts'
import { type InTheWay, newRun, refusal, sessionOf } from '#store/accept-rules.ts'
import type { Actor } from './ending-moves.ts'
import { endingMoves, step } from './ending-moves.ts'
import {
  announcement,
  append,
  type Client,
  enqueue,
  finishOf,
  is,
  type Moves,
  marks,
  NOW,
  putRun,
  type Scope,
  type Task,
  transition,
  type Wish,
  type World,
} from './world.ts'

type Generate = Extract<Wish, { do: 'generate' }>

const MAX_HOLDERS = 5

export const toNewRun = (wish: Generate, retries: number, now = NOW): NewRun => ({
  run_id: retries === 0 ? wish.run_id : `${wish.run_id}'`,
  tenant_id: 't',
  session_id: wish.session_id,
  workspace_id: wish.workspace_id,
  framework: 'vite',
  prompt: '',
  options: {},
  created_at: now,
  queue_deadline_at: new Date(now.getTime() + 3_600_000),
  ...(wish.key !== undefined && { idempotency_key: wish.key, idempotency_hash: 'same body' }),
})

/** All that is in the way, looked up in one transaction. */
const inTheWay = (w: World, run: NewRun): InTheWay => {
  const runs = Object.values(w.runs)
  const first = runs.find((other) => other.session_id === run.session_id)
  const session: Session | undefined = first && sessionOf(first)
  return {
    same: w.runs[run.run_id],
    byKey: runs.find((other) => run.idempotency_key !== undefined && other.idempotency_key === run.idempotency_key),
    session,
    sessionHolder: runs.find((other) => other.lock && other.session_id === run.session_id),
    workspaceHolder: runs.find((other) => other.lock && other.workspace_id === run.workspace_id),
  }
}

/** The index that the database happens to name is a lock's. */
const locksOnly = (found: InTheWay): InTheWay => {
  const bare = (run: Run | undefined) => run && { ...run, idempotency_hash: 'unknown', tenant_id: 'unknown' }
  const { same, session, sessionHolder, workspaceHolder } = found
  const locked = sessionHolder !== undefined || workspaceHolder !== undefined
  return locked ? { same, session, sessionHolder: bare(sessionHolder), workspaceHolder: bare(workspaceHolder) } : found
}

/** Who serves the client, and how its next step is written down. */
type Served = {
  readonly who: string
  readonly w: World
  readonly scope: Scope
  readonly client: Client
  go(w: World, change: Partial<Client>): World
  answer(w: World): World
}

const say = (s: Served, what: string, next: World, breaks?: string): Moves => [
  { who: s.who, kind: 'step', what, next, ...(breaks !== undefined && { breaks }) },
]

const accept = (s: Served, wish: Generate): Moves => {
  const { w, scope, client } = s
  const run = toNewRun(wish, client.retries)
  const found = inTheWay(w, run)
  const refused = refusal(run, is(scope, 'key_before_locks') ? found : locksOnly(found))
  if (refused === undefined)
    return say(s, `accept ${run.run_id}: stored`, s.go(putRun(w, newRun(run)), { at: 'announce', run_id: run.run_id }))
  switch (refused.outcome) {
    case 'accepted':
    case 'replayed':
      return say(
        s,
        `accept: ${refused.outcome} ${refused.run.run_id}`,
        s.go(w, { at: 'announce', run_id: refused.run.run_id }),
      )
    case 'session_busy':
    case 'workspace_busy': {
      const { run_id } = refused.holder
      const own = w.runs[run_id]?.idempotency_key === wish.key && wish.key !== undefined
      if (own) return say(s, `accept: ${refused.outcome}`, s.answer(w), 'a client that tries again meets its own run')
      if (is(scope, 'finish_frees_the_lock'))
        return say(s, `accept: ${refused.outcome}`, s.go(w, { at: 'holder', run_id }))
      const over = finishOf(w, refused.holder) !== undefined
      return say(s, `accept: ${refused.outcome}`, s.answer(w), over ? 'a run that is over holds nothing' : undefined)
    }
    default:
      return say(s, `accept: ${refused.outcome}`, s.answer(w))
  }
}

const release = (s: Served, holder: Run): Moves => {
  const { w, scope } = s
  const then = { at: 'accept' }
  if (is(scope, 'lock_of_its_own'))
    return say(s, `releases the lock of ${holder.run_id}`, s.go(putRun(w, { ...holder, lock: false }), then))
  const finished = { ...holder, lock: false, state: 'finished' as const }
  return say(s, `makes ${holder.run_id} finished`, s.go(putRun(w, finished), then))
}

const generate = (s: Served, wish: Generate): Moves => {
  const { w, client, scope } = s
  const run = w.runs[client.run_id ?? '']
  const hinted = () => (run?.state === 'queued' ? enqueue(scope, w, run.run_id) : w)
  switch (client.at) {
    case 'accept':
      return accept(s, wish)
    case 'holder': {
      if (run === undefined) return []
      const over = finishOf(w, run) !== undefined
      const next = over && client.retries < MAX_HOLDERS ? s.go(w, { at: 'release' }) : s.answer(w)
      return say(s, `reads the marks of ${run.run_id}: ${over ? 'it is over' : 'busy'}`, next)
    }
    case 'release':
      return run === undefined ? [] : release(s, run)
    case 'announce':
      if (run === undefined) return []
      // Both are under way at once.
      return [
        ...say(s, 'says user_message', s.go(append(w, run, announcement(run)).w, { at: 'enqueue' })),
        ...(scope.hintsLast ? [] : say(s, 'enqueues', s.go(hinted(), { at: 'announce.last' }))),
      ]
    case 'announce.last':
      if (run === undefined) return []
      return say(s, 'says user_message, answers 202', s.answer(append(w, run, announcement(run)).w))
    default:
      return say(s, 'enqueues, answers 202', s.answer(hinted()))
  }
}

/** The API's part of a cancel: the wish into the log, and for a run that nobody has taken up, its end. */
const cancel = (s: Served, run: Run): Moves => {
  const { w, client, scope } = s
  switch (client.at) {
    case 'accept':
      return say(
        s,
        `runs.get ${run.run_id}: ${run.state}`,
        s.go(w, { at: 'announce', run_id: run.run_id, seen: { attempt: run.attempt, state: run.state } }),
      )
    case 'announce': {
      const missing = marks(w, run).userMessage === undefined
      return say(
        s,
        `reads the marks${missing ? ', says user_message' : ''}`,
        s.go(missing ? append(w, run, announcement(run)).w : w, { at: 'cancel' }),
      )
    }
    case 'cancel': {
      const event = makeEvent(run, eventIds.cancelRequested(run.run_id), 'cancel_requested', { source: 'client' })
      const { w: next, result } = append(w, run, [event])
      const what = `says cancel_requested: ${result.outcome}`
      if (result.outcome === 'finished') return say(s, what, s.answer(next))
      if (client.seen?.state !== 'queued') return say(s, what, s.go(next, { at: 'enqueue' }))
      const task: Task = { why: 'unserved', run_id: run.run_id, at: 'queued.cas', cause: 'cancelled', ...client.seen }
      return say(s, what, s.go(next, { at: 'ending', task }))
    }
    default:
      return say(s, 'enqueues, answers 202', s.answer(enqueue(scope, w, run.run_id)))
  }
}

const endQueued = (s: Served, task: Task): Moves => {
  const { w, scope, who } = s
  const a: Actor = {
    who,
    engine: undefined,
    task,
    w,
    scope,
    go: (next, change) => s.go(next, { task: { ...task, ...change } }),
    end: (next) => s.go(next, { at: 'enqueue', task: undefined }),
  }
  const run = w.runs[task.run_id] as Run
  const { attempt = -1, state = 'queued' } = task
  if (task.at !== 'queued.cas') return endingMoves(a, run)
  const naive = { state: 'finished', lock: false } as const
  const patch = is(scope, 'document_after_finish') ? ({ state: 'starting' } as const) : naive
  const taken = transition(w, run.run_id, { attempt, from: [state] }, { ...patch, attempt: attempt + 1 })
  if (taken === undefined) return step(a, 'take-up to end it: somebody was quicker', a.end(w, 'done'))
  return step(
    a,
    `takes it up to end it: ${patch.state}`,
    a.go(taken, { at: 'end.marks', attempt: attempt + 1, owned: true }),
  )
}

/** The next step of the client at this place in the list, or of the API on its behalf. */
export const clientMoves = (w: World, n: number, scope: Scope): Moves => {
  const client = w.clients[n] as Client
  const [wish, ...rest] = client.wishes
  if (wish === undefined) return []
  const put = (next: World, change: Partial<Client>): World => ({
    ...next,
    clients: next.clients.map((other, i) => (i === n ? { ...client, ...change } : other)),
  })
  const fresh = { at: 'accept', run_id: undefined, task: undefined, seen: undefined, retries: 0 }
  const s: Served = {
    who: `client ${n + 1}`,
    w,
    scope,
    client,
    go: put,
    answer: (next) => put(next, { ...fresh, wishes: rest }),
  }
  const died: Moves =
    (w.faults['api dies'] ?? 0) > 0 && (client.at !== 'accept' || client.retries > 0)
      ? [
          {
            who: s.who,
            kind: 'fault',
            what: 'the API that serves it dies',
            next: put(
              spent(w),
              wish.do === 'generate' && wish.key !== undefined ? { ...fresh, retries: 1 } : { ...fresh, wishes: rest },
            ),
          },
        ]
      : []
  if (wish.do === 'generate') return [...generate(s, wish), ...died]
  const run = w.runs[wish.run_id]
  if (run === undefined) return []
  return [...(client.task ? endQueued(s, client.task) : cancel(s, run)), ...died]
}

const spent = (w: World): World => ({ ...w, faults: { ...w.faults, 'api dies': (w.faults['api dies'] ?? 0) - 1 } })
