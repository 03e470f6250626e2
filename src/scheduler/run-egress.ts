import { type EgressPolicy, effectiveEgress, formatEgress, parseEgress } from '#contracts/egress.ts'
import type { Run } from '#contracts/run.ts'
import type { SandboxEngine } from './engines/engine.ts'
import type { WorkerConfig } from './worker-context.ts'

/** The policy of a run: the installation's, narrowed by what the run asked for. What cannot be read allows nothing. Pure. */
export const runPolicy = (installation: EgressPolicy, { options }: Pick<Run, 'options'>): EgressPolicy => {
  if (options.egress === undefined) return installation
  const asked = parseEgress(options.egress)
  return 'wrong' in asked ? [] : effectiveEgress(installation, asked.policy)
}

const isOnlyWay = ({ channel, network }: Pick<WorkerConfig, 'channel' | 'network'>): boolean =>
  channel.kind === 'direct' ? channel.proxied === true : network === 'none'

/**
 * The policy as the run document shows it, and whether anything holds the container to it: only where it has no network
 * of its own, or one that leads nowhere, is the gateway the one way out. Pure.
 */
export const runEgress = (
  run: Pick<Run, 'options'>,
  config: Pick<WorkerConfig, 'channel' | 'network' | 'egress'>,
  engine: Pick<SandboxEngine, 'sharesPaths'>,
): NonNullable<Run['egress']> => ({
  allow: formatEgress(runPolicy(config.egress, run)),
  enforced: isOnlyWay(config) && !engine.sharesPaths,
})
