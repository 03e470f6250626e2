import type { Duplex } from 'node:stream'
import type { GatewayRun } from '#contracts/run.ts'
import type { EventLog } from '#store/event-log.ts'
import type { EgressRun } from './egress.ts'
import type { EgressConfig } from './egress-guard.ts'
import { createRefusals } from './egress-refusals.ts'
import { runPolicy } from './run-egress.ts'

/** A run that is being served; `signal` aborts when it no longer is. */
export type Served = EgressRun & {
  readonly run: GatewayRun
  readonly hash: string
  /** The runner's own connections to the model, apart: commands must not use them up. */
  readonly modelTunnels: Set<Duplex>
  /** Ends its requests and connections. */
  end(): void
}

/** Begins to serve a run by what its document says. Throws when it has no token. */
export const newServed = (events: EventLog, egress: EgressConfig, run: GatewayRun): Served => {
  if (run.token_hash === undefined) throw new Error(`run ${run.run_id} has no gateway token`)
  const stop = new AbortController()
  const { signal } = stop
  const [tunnels, modelTunnels] = [new Set<Duplex>(), new Set<Duplex>()]
  return {
    run,
    hash: run.token_hash,
    signal,
    tunnels,
    modelTunnels,
    policy: runPolicy(egress.policy, run),
    refusals: createRefusals(events, run, signal),
    end: () => {
      stop.abort()
      for (const tunnel of [...tunnels, ...modelTunnels]) tunnel.destroy()
    },
  }
}
