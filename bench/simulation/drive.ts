import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { openSse } from '../sse-client.ts'
import { type Fate, HANG_SECONDS } from './fates.ts'
import type { Stand } from './house.ts'
import type { Marks } from './marks.ts'

/** How many sessions of all have a client that follows them to their end. */
const FOLLOWED_EACH = 10

/** Without any run that ends for so long, nothing more is waited for. */
const SILENCE_MS = 60_000

const LOOK_MS = 2_000

/** Sessions that were sent to a stand, and what came of them. */
export type Driven = {
  readonly accepted: ReadonlyMap<string, string>
  readonly ended: readonly Marks[]
  /** What was answered or seen otherwise than it should be. */
  readonly wrong: readonly string[]
  readonly followed: number
  /** From the first POST to the last end, milliseconds. */
  readonly ms: number
  /** POST to its 202, milliseconds. */
  readonly answers: readonly number[]
}

export type Plan = {
  /** Sessions are named `<name>-<n>`. */
  readonly name: string
  readonly count: number
  /** Sessions per second. */
  readonly rate: number
  readonly fate: (sessionId: string) => Fate
  readonly signal: AbortSignal
  readonly progress?: (sent: number, ended: number) => void
}

const createCaller = (url: string) => {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  const post = (path: string, body: unknown): Promise<{ status: number; text: string }> => {
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>()
    const text = JSON.stringify(body)
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
    const sent = request(`${url}${path}`, { agent, method: 'POST', headers }, (response) => {
      let answer = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        answer += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: answer }))
      response.on('error', reject)
    })
    sent.on('error', reject)
    sent.end(text)
    return promise
  }
  return { post, close: () => agent.destroy() }
}

const bodyOf = (session: string, { kind }: Fate) => ({
  session_id: session,
  workspace_id: session,
  framework: 'static',
  prompt: 'Make the page that the last meeting asked for, and say what you have changed.',
  ...(kind === 'hangs' && { options: { timeout_seconds: HANG_SECONDS } }),
})

/** Reads a session's events to the last one. Gives what is wrong with them. */
const follow = async (url: string, session: string, signal: AbortSignal): Promise<string | undefined> => {
  let seen = 0
  let last = ''
  for await (const { data, event } of openSse(`${url}/api/agent/sessions/${session}/events`, { signal })) {
    if (event === 'queue') continue
    const { seq } = JSON.parse(data) as { seq: number }
    if (seq !== seen + 1) return `${session}: event ${seq} came to its client after ${seen}`
    seen = seq
    last = event
  }
  return last === 'finish' ? undefined : `${session}: its stream ended with ${last || 'nothing'}`
}

let lastLook = 0

/** A run that was cancelled while it waited is ended by the API, and no worker tells of it: then the database is asked. */
const isOver = async ({ db }: Stand, name: string, accepted: number, ended: number): Promise<boolean> => {
  if (ended >= accepted) return true
  if (performance.now() - lastLook < LOOK_MS) return false
  lastLook = performance.now()
  const open = { session_id: { $regex: `^${name}-` }, $or: [{ state: { $ne: 'finished' } }, { container_gone: false }] }
  return (await db.collection('runs').findOne(open)) === null
}

/** Sends sessions at an even rate, whether the last ones were answered or not, and waits until all that were accepted have ended. */
export const drive = async (stand: Stand, plan: Plan): Promise<Driven> => {
  const { url } = stand
  const { post, close } = createCaller(url)
  const accepted = new Map<string, string>()
  const ended: Marks[] = []
  const wrong: string[] = []
  const answers: number[] = []
  const errands: Promise<unknown>[] = []
  let lastEnd = performance.now()
  let answered = 0
  stand.onEnded((marks) => {
    ended.push(marks)
    lastEnd = performance.now()
  })

  const one = async (n: number): Promise<void> => {
    const session = `${plan.name}-${n}`
    const fate = plan.fate(session)
    const begun = performance.now()
    const { status, text } = await post('/api/agent/generate', bodyOf(session, fate)).finally(() => {
      answered += 1
    })
    answers.push(performance.now() - begun)
    if (status !== 202) return void wrong.push(`${session}: generate answered ${status}: ${text.slice(0, 200)}`)
    const { run_id } = JSON.parse(text) as { run_id: string }
    accepted.set(run_id, session)
    if (fate.kind === 'cancelled') {
      await sleep(fate.cancelMs)
      const stopped = await post(`/api/agent/sessions/${session}/stop`, { run_id })
      if (stopped.status !== 202) wrong.push(`${session}: stop answered ${stopped.status}: ${stopped.text}`)
    } else if (n % FOLLOWED_EACH === 0) {
      const problem = await follow(url, session, plan.signal)
      if (problem !== undefined) wrong.push(problem)
    }
  }

  const begin = performance.now()
  let sent = 0
  for (; sent < plan.count && !plan.signal.aborted; sent++) {
    const due = begin + (sent * 1_000) / plan.rate
    if (due > performance.now()) await sleep(due - performance.now())
    const n = sent
    errands.push(one(n).catch((error: unknown) => void wrong.push(`${plan.name}-${n}: ${error}`)))
    plan.progress?.(sent + 1, ended.length)
  }
  lastEnd = performance.now()
  while (answered < sent || !(await isOver(stand, plan.name, accepted.size, ended.length))) {
    if (performance.now() - lastEnd > SILENCE_MS || plan.signal.aborted) break
    plan.progress?.(sent, ended.length)
    await sleep(50)
  }
  const ms = lastEnd - begin
  await Promise.race([Promise.allSettled(errands), sleep(SILENCE_MS, undefined, { ref: false })])
  close()
  return { accepted, ended, wrong, followed: Math.ceil(sent / FOLLOWED_EACH), ms, answers }
}
