import type { RunnerSetup } from '#agent-runner/runner-setup.ts'
import { createGatewaySink } from '#agent-runner/sinks/gateway.ts'
import { commandEnv } from '#agent-runner/tools/command-env.ts'
import type { RunnerJob } from '#contracts/job.ts'
import type { World } from './world.ts'

/** A set-up of a world's run for `runJob` in this process: where time-outs must be shorter than a real runner's. */
export const setupOf = (
  world: World,
  changes: Partial<RunnerSetup> = {},
  job: Partial<RunnerJob> = {},
): RunnerSetup => {
  const made = world.job(job)
  const { channel } = made
  if (channel.kind !== 'gateway') throw new Error('a world has a gateway')
  return {
    job: made,
    rawJob: made,
    hasWorker: true,
    sink: createGatewaySink(channel.url, channel.token),
    workspace: world.workspace,
    commandEnv: commandEnv(process.env),
    secrets: [channel.token],
    envHoldsSecrets: false,
    inContainer: false,
    terminated: new AbortController().signal,
    say: () => undefined,
    complain: () => undefined,
    version: '0.0.0',
    ...changes,
  }
}
