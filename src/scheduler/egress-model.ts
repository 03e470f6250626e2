import { lookup } from 'node:dns/promises'
import type { EgressTarget } from '#contracts/egress.ts'
import { type EgressGuard, refusal } from './egress-guard.ts'

/**
 * Decides about the runner's own connections: to the model API that the operator has set, wherever that is, and to nothing
 * else. Its name is looked up as this machine does it, search domains included: an operator's name, not one of an agent.
 */
export const createModelGuard =
  (model: EgressTarget | undefined): EgressGuard =>
  async (_policy, target) => {
    if (model?.host !== target.host || model.port !== target.port) return refusal(target, 'not_allowed')
    const found = await lookup(model.host, { all: true }).catch((error: NodeJS.ErrnoException) => error)
    if (found instanceof Error)
      return {
        kind: 'unknown',
        says: `mgx egress: ${model.host} has no address (${found.code ?? 'the look-up failed'}).`,
      }
    return { kind: 'connect', addresses: found }
  }
