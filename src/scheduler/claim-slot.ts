import { containerName } from '#contracts/ids.ts'
import type { WarmMiss } from '#contracts/warm.ts'
import { announce } from './announce-state.ts'
import { type Claim, writeClaim } from './claims.ts'
import type { WarmSlot } from './engines/warm-engine.ts'
import { type LookAhead, lookAround } from './look-ahead.ts'
import { CALM_MS, pause } from './patience.ts'
import type { OwnedRun } from './run-ownership.ts'
import { jobLine } from './sandbox-spec.ts'
import { bringHome, CannotMove, handOver } from './slot-workspace.ts'
import { OwnershipLost, type WorkerContext } from './worker-context.ts'

/** The slot did not do: the run starts cold, and says why. */
export type Missed = { readonly kind: 'missed'; readonly token: string; readonly miss: WarmMiss }

type Claimed = { readonly kind: 'open'; readonly containerId: string; readonly warm: true } | Missed

const claimOf = (ctx: WorkerContext, { run }: OwnedRun, slot: WarmSlot): Claim => ({
  v: 1,
  slot: slot.slot,
  engine_id: ctx.engineId,
  container_id: slot.containerId,
  tenant_id: run.tenant_id,
  session_id: run.session_id,
  run_id: run.run_id,
  workspace_id: run.workspace_id,
  claimed_at: new Date().toISOString(),
})

/** All of them, also where one fails: nothing may still be under way when the slot is given up. */
const together = async (work: readonly Promise<unknown>[]): Promise<void> => {
  await Promise.allSettled(work)
  await Promise.all(work)
}

/** The slot, what its runner will be told, what was asked before, and the run's gateway, which must be there before the line. */
export type Offer = {
  readonly slot: WarmSlot
  readonly token: string
  readonly ahead: Promise<LookAhead> | undefined
  readonly served: { readonly end: Promise<unknown> }
}

const listening = async ({ end }: Offer['served']): Promise<void> => {
  if ((await end) !== undefined) throw new Error('its gateway cannot listen')
}

/**
 * True where the agent's first event follows what was said here before: its events come through this process, which appends in order
 * (but for a store that fails in just that moment), and nobody takes a run up whose owner was seen less than a heartbeat ago.
 */
const comesAfter = ({ config: { channel, timings } }: WorkerContext, { run }: OwnedRun): boolean => {
  const served = channel.kind === 'gateway' && channel.tcpUrl === undefined
  return served && Date.now() - (run.seen_at?.getTime() ?? 0) < timings.heartbeat
}

/**
 * The claim itself, in this order: journal, run document (who has lost the run stops here), workspace, job line. Whoever dies
 * between two steps leaves a container that either has its line or ends by itself, and a workspace that finds home. The last
 * two wait for the document only where that could matter.
 */
const claim = async (
  ctx: WorkerContext,
  owned: OwnedRun,
  { slot, token, served, ...offer }: Offer,
  made: Claim,
  signal: AbortSignal,
  onTold: () => void,
): Promise<WarmMiss | undefined> => {
  const { config, engine } = ctx
  const { run } = owned
  const { containerId } = slot
  const ahead = offer.ahead ?? lookAround(ctx, run)
  // None of them needs another: a slot that is not used after all is given up, whatever its journal says.
  await together([writeClaim(config.workspacesRoot, made), ahead, listening(served)])
  const { key, isFree } = await ahead
  if (key !== slot.key) return 'image_changed'
  if (!isFree) return 'workspace_busy'
  const isSure = comesAfter(ctx, owned)
  const said = together([
    owned.update({ state: 'running', container_id: containerId }),
    announce(ctx, run, ['starting', 'running'], { reason: 'warm' }, signal),
  ])
  const tell = async () => {
    if (!isSure) await said
    await handOver(config.workspacesRoot, made, config.user)
    signal.throwIfAborted()
    await slot.tell(jobLine(run, config, { containerId, token, sharesPaths: engine.sharesPaths }))
    onTold()
  }
  await together([said, tell()])
  return undefined
}

const missOf = (ctx: WorkerContext, { run }: OwnedRun, error: unknown): WarmMiss => {
  ctx.log.warn({ err: error, run_id: run.run_id }, 'a warm container could not be used; the run starts cold')
  return error instanceof CannotMove ? 'workspace_elsewhere' : 'handoff_failed'
}

/** The slot is no good any more. What cannot be done here now, the cold start or `reconcile` does. */
const giveUp = async (ctx: WorkerContext, slot: WarmSlot, made: Claim): Promise<void> => {
  try {
    await slot.discard()
    await bringHome(ctx.config.workspacesRoot, made)
  } catch (error) {
    ctx.log.warn({ err: error, slot: slot.slot, run_id: made.run_id }, 'a slot that was given up is still there')
  }
}

/** Only for people who look at `docker ps`: nothing waits for it. */
const nameAfterSession = (ctx: WorkerContext, slot: WarmSlot, made: Claim): void => {
  const rename = async () => {
    await pause(CALM_MS, new AbortController().signal)
    await slot.rename(containerName(made.session_id))
  }
  rename().catch((error: unknown) => {
    ctx.log.debug({ err: error, run_id: made.run_id }, 'the container keeps the name of its slot')
  })
}

/**
 * Gives the run a container that was started ahead. Every doubt is a `Missed`: then the slot is gone and the workspace where it
 * was. Rejects when `signal` aborts or the run is lost.
 */
export const claimSlot = async (
  ctx: WorkerContext,
  owned: OwnedRun,
  offer: Offer,
  signal: AbortSignal,
): Promise<Claimed> => {
  const { slot, token } = offer
  const made = claimOf(ctx, owned, slot)
  let miss: WarmMiss | undefined = 'handoff_failed'
  const onTold = () => {
    miss = undefined
  }
  try {
    miss = await claim(ctx, owned, offer, made, signal, onTold)
  } catch (error) {
    // An agent that was told is at work for whoever has the run now: that one finds it by its claim.
    if (signal.aborted || error instanceof OwnershipLost) throw error
    miss = missOf(ctx, owned, error)
  } finally {
    if (miss !== undefined) await giveUp(ctx, slot, made)
  }
  if (miss === undefined) {
    nameAfterSession(ctx, slot, made)
    return { kind: 'open', containerId: slot.containerId, warm: true }
  }
  // An owner that slept must not start a second container for a run that another one has taken up meanwhile.
  await owned.update({})
  return { kind: 'missed', token, miss }
}
