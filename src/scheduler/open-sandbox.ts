import { chmod, mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { RESULT_TEXT, type Run } from '#contracts/run.ts'
import { announce } from './announce-state.ts'
import { claimSlot, type Missed } from './claim-slot.ts'
import { EngineError, type SandboxSpec, type StartResult } from './engines/engine.ts'
import { untilDone, untilEngineAnswers } from './patience.ts'
import { type End, LOST, type Place, type Start } from './plan-sandbox.ts'
import type { OwnedRun } from './run-ownership.ts'
import { gatewaySocket, jobLine, sandboxSpec } from './sandbox-spec.ts'
import { settleWorkspace } from './settle-workspace.ts'
import type { WorkerContext } from './worker-context.ts'
import { existingRoot, prepareWorkspace } from './workspace.ts'
import { openDisk } from './workspace-disk.ts'

/** `warm`: the container was started ahead, and must show that it has got its job line. */
export type Opened = { readonly kind: 'open'; readonly containerId: string; readonly warm: boolean } | End

/** What could not be opened, as the end of the run; anything but an `EngineError` is thrown on. */
const endOf = (error: unknown): End => {
  if (!(error instanceof EngineError)) throw error
  const { failure, message, remediation } = error
  return { kind: 'end', cause: failure, error: RESULT_TEXT.startFailed(`${message}. ${remediation}`) }
}

/** The mode is set by hand: a umask would keep the agent's user out. */
const makeGatewayDir = async (root: string, path: string): Promise<void> => {
  await existingRoot(root)
  await mkdir(path, { recursive: true, mode: 0o755 })
  await chmod(path, 0o755)
}

const gatewayError = (root: string, cause: unknown): EngineError =>
  new EngineError(
    'start_failed',
    `the gateway of the run cannot listen (${cause instanceof Error ? cause.message : String(cause)})`,
    `Let this user write to ${root}/.mgx.`,
    { cause },
  )

export type Served = AsyncDisposable & {
  /** Why it cannot listen, once that is known. */
  readonly end: Promise<End | undefined>
}

/** Begins to serve the run's gateway where its runner will look for it; nothing in the direct channel on an open network. */
export const serveGateway = (ctx: WorkerContext, run: Run, place: Place): Served => {
  const root = ctx.config.workspacesRoot
  const socket = gatewaySocket(ctx.config, place.gatewayOf)
  const stack = new AsyncDisposableStack()
  const serve = async (): Promise<End | undefined> => {
    try {
      // A slot's is there: it is mounted.
      if (socket !== undefined && place.slot === undefined) await makeGatewayDir(root, dirname(socket))
      stack.use(await ctx.gateway?.serve(run, socket))
      return undefined
    } catch (error) {
      return endOf(error instanceof EngineError ? error : gatewayError(root, error))
    }
  }
  const end = serve()
  return {
    end,
    async [Symbol.asyncDispose]() {
      await end
      await stack.disposeAsync()
    },
  }
}

/** A policy that nothing would keep is refused, not passed over. */
const refusedEgress = ({ channel }: WorkerContext['config'], { options }: Run): EngineError | undefined => {
  if (channel.kind === 'gateway' || channel.proxied) return undefined
  if (options.egress === undefined || options.egress === 'all') return undefined
  return new EngineError(
    'start_failed',
    'options.egress cannot be enforced here: in the direct channel agents reach what their network reaches',
    'Leave options.egress away, set AGENT_CHANNEL=gateway, or give agents an internal network (AGENT_NETWORK).',
  )
}

/** Makes the workspace ready, and says where it is when that is not its usual place. */
const readyWorkspace = async (
  { config }: WorkerContext,
  run: Run,
): Promise<Pick<SandboxSpec, 'workspace'> | undefined> => {
  const { workspacesRoot: root, hostWorkspacesRoot, user, disk } = config
  const place = disk.hard && disk.quotaBytes && (await openDisk({ root, run, user, bytes: disk.quotaBytes }))
  if (place) return { workspace: { path: join(root, place), hostPath: join(hostWorkspacesRoot, place) } }
  await prepareWorkspace(root, run.workspace_id, user)
  return undefined
}

const startOnce = async (ctx: WorkerContext, run: Run, token: string, signal: AbortSignal): Promise<StartResult> => {
  const { config, engine } = ctx
  const { enginePatience } = config.timings
  const settled = await untilEngineAnswers(() => settleWorkspace(ctx, run, signal), enginePatience, signal)
  const spec = { ...sandboxSpec(run, config), ...(settled && (await readyWorkspace(ctx, run))) }
  return untilEngineAnswers(
    () =>
      engine.start(
        spec,
        (containerId) => jobLine(run, config, { containerId, token, sharesPaths: engine.sharesPaths }),
        signal,
      ),
    enginePatience,
    signal,
  )
}

/**
 * A start that finds a container it does not know (an older owner's, come late) removes that one: its token is another.
 * Not without a look at the document: the older owner may be this one, and the container the newer one's.
 */
const startFresh = async (ctx: WorkerContext, owned: OwnedRun, token: string, signal: AbortSignal): Promise<Opened> => {
  const { run } = owned
  for (;;) {
    const { adopted, containerId } = await startOnce(ctx, run, token, signal)
    if (!adopted) return { kind: 'open', containerId, warm: false }
    const { agentStart } = await untilDone(() => ctx.store.events.marks(run.session_id, run.run_id), signal)
    if (agentStart !== undefined) return LOST
    await owned.update({})
    await untilEngineAnswers(() => ctx.engine.remove(run, containerId), ctx.config.timings.enginePatience, signal)
  }
}

const start = async (ctx: WorkerContext, owned: OwnedRun, plan: Start, signal: AbortSignal): Promise<Opened> => {
  const said = { reason: 'cold', miss: plan.miss ?? 'pool_off' } as const
  try {
    const [opened] = await Promise.all([
      startFresh(ctx, owned, plan.token, signal),
      announce(ctx, owned.run, [plan.again ? 'startingCold' : 'starting'], said, signal),
    ])
    return opened
  } catch (error) {
    return endOf(error)
  }
}

/** Each start is counted, and said where operators look. */
const noteStart = (ctx: WorkerContext, run: Run, { plan, slot }: Place, opened: Opened | Missed): void => {
  const sinceTakeUp = (Date.now() - (run.started_at?.getTime() ?? Date.now())) / 1000
  if (opened.kind === 'open') ctx.meter?.started(slot === undefined ? 'cold' : 'warm', sinceTakeUp)
  const cold =
    plan.kind === 'start' && plan.again !== true && slot === undefined ? (plan.miss ?? 'pool_off') : undefined
  const outcome = opened.kind === 'missed' ? opened.miss : slot !== undefined && opened.kind === 'open' ? 'warm' : cold
  if (outcome === undefined) return
  ctx.pool?.note(outcome)
  ctx.log.info({ run_id: run.run_id, start: outcome, ...ctx.pool?.stats() }, 'run starting')
}

const open = (
  ctx: WorkerContext,
  owned: OwnedRun,
  { plan, slot }: Place,
  served: Served,
  signal: AbortSignal,
): Promise<Opened | Missed> => {
  if (plan.kind === 'start') {
    const refusal = refusedEgress(ctx.config, owned.run)
    if (refusal !== undefined) {
      if (slot) ctx.pool?.putBack(slot)
      return Promise.resolve(endOf(refusal))
    }
    return slot === undefined
      ? start(ctx, owned, plan, signal)
      : claimSlot(ctx, owned, { slot, token: plan.token, ahead: plan.ahead, served }, signal)
  }
  return Promise.resolve({ kind: 'open', containerId: plan.containerId, warm: plan.slot !== undefined })
}

const reasonOf = ({ plan }: Place): string => (plan.kind === 'adopt' ? 'adopted' : 'cold')

/**
 * Carries the plan out. Rejects only when `signal` aborts or the run is lost to another owner.
 * @param served the gateway, which a claim waits for
 */
export const openSandbox = async (
  ctx: WorkerContext,
  owned: OwnedRun,
  place: Place,
  served: Served,
  signal: AbortSignal,
): Promise<Opened | Missed> => {
  const opened = await open(ctx, owned, place, served, signal)
  if (place.plan.kind === 'start') noteStart(ctx, owned.run, place, opened)
  // A claim has stored and said it, before the agent could say anything.
  if (opened.kind !== 'open' || place.slot !== undefined) return opened
  await owned.update({ state: 'running', container_id: opened.containerId })
  const again = place.plan.kind === 'start' && place.plan.again === true
  await announce(ctx, owned.run, [again ? 'runningCold' : 'running'], { reason: reasonOf(place) }, signal)
  return opened
}
