import { after, before, type TestContext } from 'node:test'
import type { SessionEvent } from '#contracts/events.ts'
import type { GenerateBody } from '#contracts/http.ts'
import type { Run } from '#contracts/run.ts'
import { type Answer, generate } from '../e2e/generate.ts'
import { followEvents, type SessionFollower } from '../e2e/session-follower.ts'
import { openStack, type Stack, type StackOptions } from '../e2e/stack.ts'
import type { StackNode } from '../e2e/stack-node.ts'
import { waitFor } from '../helpers.ts'
import { bridgeAddress } from '../services/bridge.ts'
import type { Skip } from '../services/daemon.ts'
import { openDocker } from '../services/docker.ts'
import { FIRST_COMMAND, openPacedModel, type PacedModel, promptOf } from './paced-model.ts'

/** Of one test: an adoption alone takes about twenty seconds by the worker's own times. */
export const LIMIT = { timeout: 120_000 }

/** One run and a client that watches it through every fault. */
export type Watched = {
  readonly run: Answer
  readonly prompt: string
  readonly client: SessionFollower
  /** Resolves when the model is in the middle of its answer. */
  talking(): Promise<unknown>
  /** Lets the model come to its end. */
  release(): void
  /** The test has removed its container: what only Docker knew of it is gone. */
  readonly removed?: true
}

export type AskOptions = {
  readonly session?: string
  /** The one command that the agent runs before it talks. */
  readonly command?: string
  /** The addresses that its client uses in turn. */
  readonly urls?: readonly [string, ...string[]]
  readonly body?: Partial<GenerateBody>
}

export type World = {
  readonly stack: Stack
  readonly model: PacedModel
  /** Accepts a run and watches it. `name` is its session's as well, unless told otherwise. */
  ask(name: string, options?: AskOptions): Promise<Watched>
  /** A run that was accepted already, watched from now on. */
  watch(run: Answer, prompt: string, urls?: readonly [string, ...string[]]): Watched
  /** The document as it is now. */
  document(watched: Pick<Watched, 'run'>): Promise<Run>
  /** The worker that has the run, and the others. */
  ownerOf(watched: Watched): Promise<{ readonly owner: StackNode; readonly others: readonly StackNode[] }>
}

export const isDelta = (event: SessionEvent): boolean => event.event_type === 'message_delta'
export const isStart = (event: SessionEvent): boolean => event.event_type === 'agent_start'
export const isFinish = (event: SessionEvent): boolean => event.event_type === 'finish'

/** `running` with this reason: `cold` = a container was started, `adopted` = one was taken over. */
export const runs =
  (reason: 'cold' | 'adopted') =>
  (event: SessionEvent): boolean =>
    event.event_type === 'run_state' && event.data.state === 'running' && event.data.reason === reason

const createWorld = (open: AsyncDisposableStack, stack: Stack, model: PacedModel): World => {
  const documents = stack.db.collection<Run>('runs')
  const document: World['document'] = async ({ run }) => {
    const found = await documents.findOne({ run_id: run.run_id }, { projection: { _id: 0 } })
    if (found === null) throw new Error(`no document of run ${run.run_id}`)
    return found
  }
  const watch: World['watch'] = (run, prompt, urls = stack.urls) => {
    const addresses = urls.map((url) => `${url}${run.events_url}`) as [string, ...string[]]
    const client = open.use(followEvents(addresses))
    return {
      run,
      prompt,
      client,
      talking: () => client.until(`${prompt} to talk`, isDelta),
      release: () => model.release(prompt),
    }
  }
  return {
    stack,
    model,
    document,
    watch,
    async ask(name, { session = name, command = FIRST_COMMAND, urls = stack.urls, body } = {}) {
      const prompt = promptOf(name, command)
      const run = await generate(urls[0], { session_id: stack.sessionId(session), prompt, ...body })
      return watch(run, prompt, urls)
    },
    async ownerOf(watched) {
      const { owner: name = '' } = await document(watched)
      const owner = stack.workers.find(({ pid }) => name.includes(`-${pid}-`))
      if (owner === undefined) throw new Error(`no worker is ${name}`)
      return { owner, others: stack.workers.filter((worker) => worker !== owner) }
    },
  }
}

/** A stack whose model the test controls. `open` closes it. */
const openWorld = async (open: AsyncDisposableStack, options: StackOptions): Promise<World | { skip: string }> => {
  const docker = await openDocker()
  if ('skip' in docker) return docker
  const host = options.channel === 'direct' ? await bridgeAddress(docker.docker) : '127.0.0.1'
  const model = open.use(await openPacedModel(host))
  const stack = await openStack({ ...options, env: { OPENAI_BASE_URL: model.baseUrl, ...options.env } })
  return 'skip' in stack ? stack : createWorld(open, open.use(stack), model)
}

type Body = (world: World) => Promise<void>

/** A failed test tells what the processes have logged. */
const inOpened = async (t: TestContext, world: World | Skip, body: Body): Promise<void> => {
  if ('skip' in world) return t.skip(world.skip)
  try {
    await body(world)
  } catch (error) {
    t.diagnostic(world.stack.logs())
    throw error
  }
}

/** The body of a test in a world of its own. */
export const inWorld =
  (options: StackOptions, body: Body) =>
  async (t: TestContext): Promise<void> => {
    await using open = new AsyncDisposableStack()
    await inOpened(t, await openWorld(open, options), body)
  }

/** One world for all the tests of a `describe`; gives what makes the body of each. */
export const sharedWorld = (options: StackOptions): ((body: Body) => (t: TestContext) => Promise<void>) => {
  const open = new AsyncDisposableStack()
  let opened: World | Skip | undefined
  before(async () => {
    opened = await openWorld(open, options)
  })
  after(() => open.disposeAsync())
  return (body) => (t) => inOpened(t, opened ?? { skip: 'its world did not open' }, body)
}

/** Resolves when the run's client has seen `count` more deltas than now: events flow. */
export const flowing = async ({ client }: Watched, count = 10, timeoutMs = 60_000): Promise<void> => {
  const seen = client.events.filter(isDelta).length
  await waitFor(() => client.events.filter(isDelta).length >= seen + count, { what: 'events to flow', timeoutMs })
}
