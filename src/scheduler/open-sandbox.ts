import { chmod, mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Cause } from '#contracts/causes.ts'
import { eventIds, makeEvent } from '#contracts/events.ts'
import { RESULT_TEXT, type Run } from '#contracts/run.ts'
import type { RunPatch } from '#store/run-store.ts'
import { EngineError, type SandboxInfo, type StartResult } from './engines/engine.ts'
import { untilDone, untilEngineAnswers } from './patience.ts'
import type { OwnedRun } from './run-ownership.ts'
import { newToken, tokenHash } from './run-token.ts'
import { gatewaySocket, jobLine, sandboxSpec } from './sandbox-spec.ts'
import { askEngine, type EngineHealth } from './watch.ts'
import type { WorkerContext } from './worker-context.ts'
import { existingRoot, prepareWorkspace } from './workspace.ts'

export type End = { readonly kind: 'end'; readonly cause: Cause; readonly error: string }

export type Opened = { readonly kind: 'open'; readonly containerId: string } | End

const LOST: End = {
  kind: 'end',
  cause: 'container_lost',
  error: 'The container was gone when a worker took the run up again',
}

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

/** Serves the run's gateway where its runner will look for it; nothing in the direct channel. */
export const serveGateway = async (ctx: WorkerContext, run: Run): Promise<AsyncDisposable | End> => {
  const root = ctx.config.workspacesRoot
  const socket = gatewaySocket(ctx.config, run.run_id)
  try {
    if (socket !== undefined) await makeGatewayDir(root, dirname(socket))
    return (await ctx.gateway?.serve(run, socket)) ?? { async [Symbol.asyncDispose]() {} }
  } catch (error) {
    return endOf(error instanceof EngineError ? error : gatewayError(root, error))
  }
}

const announce = (ctx: WorkerContext, run: Run, state: 'starting' | 'running', reason: string, signal: AbortSignal) =>
  untilDone(
    () =>
      ctx.store.events.append(run.session_id, [
        makeEvent(run, eventIds[state](run.run_id, run.attempt), 'run_state', { state, reason, attempt: run.attempt }),
      ]),
    signal,
  )

/** A policy that nothing would keep is refused, not passed over. */
const guardEgress = ({ channel }: WorkerContext['config'], { options }: Run): void => {
  if (channel.kind === 'gateway' || options.egress === undefined || options.egress === 'all') return
  throw new EngineError(
    'start_failed',
    'options.egress cannot be enforced here: in the direct channel agents reach their network by themselves',
    'Leave options.egress away, or set AGENT_CHANNEL=gateway.',
  )
}

const startOnce = async (ctx: WorkerContext, run: Run, token: string, signal: AbortSignal): Promise<StartResult> => {
  const { config, engine } = ctx
  guardEgress(config, run)
  await prepareWorkspace(config.workspacesRoot, run.workspace_id, config.user)
  const spec = sandboxSpec(run, config)
  return untilEngineAnswers(
    () =>
      engine.start(
        spec,
        (containerId) => jobLine(run, config, { containerId, token, sharesPaths: engine.sharesPaths }),
        signal,
      ),
    config.timings.enginePatience,
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
    if (!adopted) return { kind: 'open', containerId }
    const { agentStart } = await untilDone(() => ctx.store.events.marks(run.session_id, run.run_id), signal)
    if (agentStart !== undefined) return LOST
    await owned.update({})
    await untilEngineAnswers(() => ctx.engine.remove(run, containerId), ctx.config.timings.enginePatience, signal)
  }
}

const start = async (ctx: WorkerContext, owned: OwnedRun, token: string, signal: AbortSignal): Promise<Opened> => {
  try {
    const [opened] = await Promise.all([
      startFresh(ctx, owned, token, signal),
      announce(ctx, owned.run, 'starting', 'cold', signal),
    ])
    return opened
  } catch (error) {
    return endOf(error)
  }
}

/** What there is to do: adopt what is there, or start with a token whose hash is in the document. */
export type Plan =
  | { readonly kind: 'adopt'; readonly containerId: string }
  | { readonly kind: 'start'; readonly token: string }
  | End

/** Gives the run a new token: an earlier one died with the owner that knew it. */
export const renewToken = async (owned: OwnedRun, patch: RunPatch = {}): Promise<Plan> => {
  const token = newToken()
  await owned.update({ ...patch, token_hash: tokenHash(token) })
  return { kind: 'start', token }
}

/**
 * One container per run: adopts the one that is there, else (`undefined`) one is started, unless the log says that an agent
 * began in a container that is gone. One that was never started is no container yet: `start` replaces it.
 */
export const adoptOrEnd = (
  found: Pick<SandboxInfo, 'started' | 'containerId'> | undefined,
  agentStarted: boolean,
): Exclude<Plan, { kind: 'start' }> | undefined => {
  if (found?.started) return { kind: 'adopt', containerId: found.containerId }
  return agentStarted ? LOST : undefined
}

/**
 * Looks at what is there already for a run that was taken up before.
 * @param firstToken the token whose hash the take-up stored; absent when the run was taken up before
 */
export const planSandbox = async (
  ctx: WorkerContext,
  owned: OwnedRun,
  known: { readonly agentStarted: boolean; readonly firstToken: string | undefined },
  health: EngineHealth,
  signal: AbortSignal,
): Promise<Plan> => {
  if (known.firstToken !== undefined) return { kind: 'start', token: known.firstToken }
  const found = await askEngine(ctx, owned.run, health, () => ctx.engine.find(owned.run), signal)
  return adoptOrEnd(found, known.agentStarted) ?? renewToken(owned)
}

/** Carries the plan out. Rejects only when `signal` aborts or the run is lost to another owner. */
export const openSandbox = async (
  ctx: WorkerContext,
  owned: OwnedRun,
  plan: Exclude<Plan, { kind: 'end' }>,
  signal: AbortSignal,
): Promise<Opened> => {
  const opened: Opened =
    plan.kind === 'adopt'
      ? { kind: 'open', containerId: plan.containerId }
      : await start(ctx, owned, plan.token, signal)
  if (opened.kind === 'end') return opened
  await owned.update({ state: 'running', container_id: opened.containerId })
  await announce(ctx, owned.run, 'running', plan.kind === 'adopt' ? 'adopted' : 'cold', signal)
  return opened
}
