import type { Cause } from '#contracts/causes.ts'
import type { Run } from '#contracts/run.ts'
import type { WarmMiss } from '#contracts/warm.ts'
import type { RunPatch } from '#store/run-store.ts'
import type { SandboxInfo } from './engines/engine.ts'
import type { WarmSlot } from './engines/warm-engine.ts'
import type { LookAhead } from './look-ahead.ts'
import type { OwnedRun } from './run-ownership.ts'
import { newToken, tokenHash } from './run-token.ts'
import { askEngine, type EngineHealth } from './watch.ts'
import type { WorkerContext } from './worker-context.ts'

export type End = { readonly kind: 'end'; readonly cause: Cause; readonly error: string }

export const LOST: End = {
  kind: 'end',
  cause: 'container_lost',
  error: 'The container was gone when a worker took the run up again',
}

/** `miss`: why it must be a cold one; without, the pool is asked. `again`: the log has a start of this attempt already. */
export type Start = {
  readonly kind: 'start'
  readonly token: string
  readonly miss?: WarmMiss
  readonly again?: boolean
  /** What a claim must know, asked for while there was something else to do. */
  readonly ahead?: Promise<LookAhead>
}

/** What there is to do: adopt what is there, or start with a token whose hash is in the document. */
export type Plan = { readonly kind: 'adopt'; readonly containerId: string; readonly slot?: string } | Start | End

/** Gives the run a new token: an earlier one died with the owner that knew it. It starts cold: something is amiss. */
export const renewToken = async (
  owned: OwnedRun,
  patch: RunPatch = {},
  why: Pick<Start, 'miss' | 'again'> = { miss: 'taken_up_again' },
): Promise<Plan> => {
  const token = newToken()
  await owned.update({ ...patch, token_hash: tokenHash(token) })
  return { kind: 'start', token, ...why }
}

/** Where a run lives: in a slot of the pool, or in a container of its own. */
export type Place = {
  /** Whose gateway directory is mounted there. */
  readonly gatewayOf: string
  readonly slot?: WarmSlot
  readonly plan: Exclude<Plan, End>
}

/** Asks the pool, where the plan leaves it open. */
export const choosePlace = (ctx: WorkerContext, { run_id, image }: Run, plan: Exclude<Plan, End>): Place => {
  if (plan.kind === 'adopt') return { gatewayOf: plan.slot ?? run_id, plan }
  if (plan.miss !== undefined) return { gatewayOf: run_id, plan }
  if (ctx.pool && image?.track === 'canary') return { gatewayOf: run_id, plan: { ...plan, miss: 'canary' } }
  const taken = ctx.pool?.take() ?? 'pool_off'
  if (typeof taken === 'string') return { gatewayOf: run_id, plan: { ...plan, miss: taken } }
  return { gatewayOf: taken.slot, slot: taken, plan }
}

/**
 * One container per run: adopts the one that is there, else (`undefined`) one is started, unless the log says that an agent
 * began in a container that is gone. One that was never started is no container yet: `start` replaces it.
 */
export const adoptOrEnd = (
  found: Pick<SandboxInfo, 'started' | 'containerId' | 'slot'> | undefined,
  agentStarted: boolean,
): Exclude<Plan, { kind: 'start' }> | undefined => {
  if (found?.started) {
    return { kind: 'adopt', containerId: found.containerId, ...(found.slot !== undefined && { slot: found.slot }) }
  }
  return agentStarted ? LOST : undefined
}

/**
 * Looks at what is there already for a run that was taken up before.
 * @param firstToken the token whose hash the take-up stored; absent when the run was taken up before
 */
export const planSandbox = async (
  ctx: WorkerContext,
  owned: OwnedRun,
  known: {
    readonly agentStarted: boolean
    readonly firstToken: string | undefined
    readonly ahead: Promise<LookAhead> | undefined
  },
  health: EngineHealth,
  signal: AbortSignal,
): Promise<Plan> => {
  const { firstToken: token, ahead } = known
  if (token !== undefined) return { kind: 'start', token, ...(ahead && { ahead }) }
  const found = await askEngine(ctx, owned.run, health, () => ctx.engine.find(owned.run), signal)
  return adoptOrEnd(found, known.agentStarted) ?? renewToken(owned)
}
