/**
 * A process that plays the containers of one worker: every agent in it says over the gateway's socket what a runner would say.
 * Apart from the worker, so that what agents cost is not counted as ours.
 */
import { RunnerJob } from '#contracts/job.ts'
import { createGatewaySink } from '../../src/agent-runner/sinks/gateway.ts'
import { type AgentEnd, liveAgent } from './agent.ts'
import { fateOf } from './fates.ts'
import { measuredTimes } from './measured.ts'

export type ToAgents =
  | { readonly do: 'start'; readonly id: string; readonly line: string }
  | { readonly do: 'term' | 'kill'; readonly id: string }

export type FromAgents = { readonly id: string; readonly end: AgentEnd }

const options = {
  seed: Number(process.env.SIM_SEED),
  failures: Number(process.env.SIM_FAILURES),
  times: measuredTimes(),
}
const alive = new Map<string, AbortController>()

const begin = async (id: string, line: string): Promise<void> => {
  const term = new AbortController()
  alive.set(id, term)
  const job = RunnerJob.parse(JSON.parse(line))
  if (job.channel.kind !== 'gateway') throw new Error('simulated agents speak to the gateway only')
  const sink = createGatewaySink(job.channel.url, job.channel.token)
  const end = await liveAgent({ job, fate: fateOf(options, job.session_id), sink, term: term.signal })
  // A container that was killed ends at once; what its agent still wanted to say is nobody's business.
  if (alive.delete(id)) process.send?.({ id, end } satisfies FromAgents)
}

process.on('message', (message: ToAgents) => {
  if (message.do === 'start') return void begin(message.id, message.line)
  alive.get(message.id)?.abort()
  if (message.do === 'kill') alive.delete(message.id)
})
// Its worker is gone, and with it every socket.
process.on('disconnect', () => process.exit(0))
