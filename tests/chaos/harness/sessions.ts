import { createSemaphore } from '#scheduler/semaphore.ts'
import { type Answer, postGenerate, stopRun } from '../../e2e/generate.ts'
import { sleep } from '../../helpers.ts'
import { type Client, startClient } from './clients.ts'
import type { House } from './house.ts'
import type { Channel, Plan, RunPlan, SessionPlan } from './plan.ts'
import { promptOf } from './prompts.ts'

/** One run that was answered with 202. */
export type Accepted = {
  readonly plan: RunPlan
  readonly channel: Channel
  /** What its first command leaves in the workspace. */
  readonly label: string
  readonly workspace_id: string
  readonly session_id: string
  readonly run_id: string
  readonly clients: readonly Client[]
}

export type Sessions = {
  readonly accepted: readonly Accepted[]
  /** Prompts that were refused, or that nobody took in all that time. */
  readonly refused: readonly string[]
  readonly counts: { readonly begun: number; readonly over: number }
  /** Resolves when every session has come to its end, or `signal` aborts. */
  drive(): Promise<void>
}

export type SessionsOptions = {
  readonly plan: Plan
  readonly houseOf: (channel: Channel) => House
  /** Sessions at once, those that come in a crowd not counted. */
  readonly places: number
  readonly onBegun: (index: number) => void
  readonly signal: AbortSignal
}

/** An outage, an adoption and the whole life of another run in the same workspace fit into this. */
const PATIENCE_MS = 300_000
/** A run that is not over so long after its deadline is given up here; the verdict will say so. */
const OVERDUE_MS = 240_000
const RETRY_MS = 300

const LATER = new Set([429, 500, 502, 503, 504])
const BUSY = /"code":"(?:SESSION|WORKSPACE)_BUSY"/

type Prompt = { readonly session_id: string; readonly workspace_id: string; readonly prompt: string }

/** Asks one API after the other, with the same key, until one answers 202. */
const insist = async ({ stack }: House, body: Prompt, key: string, signal: AbortSignal): Promise<Answer | string> => {
  const end = Date.now() + PATIENCE_MS
  let last = 'no answer'
  for (let turn = 0; Date.now() < end && !signal.aborted; turn++) {
    const url = stack.urls[turn % stack.urls.length] ?? stack.urls[0]
    try {
      const response = await postGenerate(url, body, { 'idempotency-key': key })
      if (response.status === 202) return (await response.json()) as Answer
      last = `${response.status} ${await response.text()}`
      if (!LATER.has(response.status) && !BUSY.test(last)) return last
    } catch (error) {
      last = String(error)
    }
    await sleep(RETRY_MS)
  }
  return `gave up: ${last}`
}

const insistOnStop = async ({ stack }: House, run: Answer, afterMs: number): Promise<void> => {
  await sleep(afterMs, undefined, { ref: false })
  for (let turn = 0; turn < PATIENCE_MS / RETRY_MS; turn++) {
    const url = stack.urls[turn % stack.urls.length] ?? stack.urls[0]
    const status = await stopRun(url, run).then(
      (response) => response.status,
      () => 503,
    )
    if (!LATER.has(status)) return
    await sleep(RETRY_MS, undefined, { ref: false })
  }
}

const untilOver = async ({ clients, plan }: Accepted, signal: AbortSignal): Promise<void> => {
  const limit = plan.timeoutSeconds * 1000 + OVERDUE_MS
  const late = sleep(limit, undefined, { ref: false, signal }).catch(() => {})
  const first = Promise.any(clients.map(({ follower }) => follower.done)).catch(() => late)
  await Promise.race([first, late])
}

const workspaceOf = (plan: Plan, session: SessionPlan): string => {
  const other = plan.sessions.find(({ name }) => name === session.workspaceOf)
  return other === undefined ? session.name : workspaceOf(plan, other)
}

export const createSessions = (options: SessionsOptions): Sessions => {
  const { plan, houseOf, signal } = options
  const accepted: Accepted[] = []
  const refused: string[] = []
  const counts = { begun: 0, over: 0 }

  const runOne = async (session: SessionPlan, run: RunPlan, index: number): Promise<void> => {
    const house = houseOf(session.channel)
    const label = `${session.name}-${index}`
    const session_id = house.stack.sessionId(session.name)
    const workspace_id = house.stack.sessionId(workspaceOf(plan, session))
    const prompt = promptOf(label, run)
    const body = { session_id, workspace_id, prompt, options: { timeout_seconds: run.timeoutSeconds } }
    const answer = await insist(house, body, label, signal)
    if (typeof answer === 'string') {
      // A harness that is told to end gives up what nobody has refused.
      if (!signal.aborted) refused.push(`${label}: ${answer}`)
      return
    }
    const clients = run.clients.map((client, at) => startClient(client, at, house.stack.urls, answer.events_url))
    const { run_id } = answer
    const one = { plan: run, channel: session.channel, label, workspace_id, session_id, run_id, clients }
    accepted.push(one)
    if (run.stopAfterMs !== undefined) void insistOnStop(house, answer, run.stopAfterMs)
    await untilOver(one, signal)
  }

  const live = async (session: SessionPlan): Promise<void> => {
    for (const [index, run] of session.runs.entries()) if (!signal.aborted) await runOne(session, run, index)
    counts.over += 1
  }

  const drive = async (): Promise<void> => {
    const places = createSemaphore(options.places)
    const going: Promise<void>[] = []
    for (const [index, session] of plan.sessions.entries()) {
      await sleep(session.gapMs, undefined, { signal }).catch(() => {})
      if (signal.aborted) break
      const place = session.crowd ? undefined : await places.acquire()
      counts.begun += 1
      options.onBegun(index)
      going.push(live(session).finally(() => place?.[Symbol.dispose]()))
    }
    await Promise.all(going)
  }

  return { accepted, refused, counts, drive }
}
