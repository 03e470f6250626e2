import { formatEgress } from '#contracts/egress.ts'
import { EngineError, type SandboxEngine } from './engines/engine.ts'
import type { WorkerConfig } from './worker-context.ts'

/**
 * What the direct channel can hold depends on the agents' network: where the engine says that it leads nowhere, every run gets
 * a gateway for its connections, and the policy holds. On an open network nothing changes, and a policy that is narrower
 * than everything is refused (`EngineError`): nobody would keep it.
 */
export const onItsNetwork = async (
  config: WorkerConfig,
  engine: Pick<SandboxEngine, 'leadsNowhere'>,
): Promise<WorkerConfig> => {
  const { channel, network } = config
  if (channel.kind !== 'direct') return config
  if (await engine.leadsNowhere?.(network)) return { ...config, channel: { ...channel, proxied: true } }
  if (formatEgress(config.egress) === 'all') return config
  throw new EngineError(
    'start_failed',
    `AGENT_EGRESS cannot be enforced in the direct channel on the network ${network}, which leads out by itself`,
    'Set AGENT_NETWORK to one made with `docker network create --internal`, with MongoDB on it, or AGENT_CHANNEL=gateway; or unset AGENT_EGRESS.',
  )
}
