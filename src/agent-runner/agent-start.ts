import { type EventData, eventIds } from '#contracts/events.ts'
import type { Recorded, Recorder } from './recorder.ts'
import type { RunnerSetup } from './runner-setup.ts'
import { TOOL_NAMES } from './tools/names.ts'

const agentStart = ({ job, version, image }: RunnerSetup): EventData['agent_start'] => ({
  agent_name: 'mgx',
  framework: job.framework,
  model: job.model,
  tier: 'primary',
  prompt: job.prompt,
  prompt_chars: job.prompt.length,
  tools: TOOL_NAMES,
  limits: {
    max_steps: job.max_steps,
    ...(job.max_cost_usd === undefined ? {} : { max_cost_usd: job.max_cost_usd }),
    deadline: job.deadline,
  },
  ...(job.container_id === undefined ? {} : { container_id: job.container_id }),
  runner_version: version,
  ...(image && { image }),
})

/**
 * Says `agent_start`, unless the run is being ended already. By hand, where no API has said it, `user_message` comes first.
 * Loads nothing heavy.
 */
export const announceAgent = (setup: RunnerSetup, recorder: Recorder): Promise<Recorded> => {
  const { job } = setup
  const id = eventIds.userMessage(job.run_id)
  if (!setup.hasWorker)
    void recorder.settle('user_message', { message_id: id, content: job.prompt, source: 'environment' }, { id })
  return recorder.settle('agent_start', agentStart(setup), { unlessEnding: true })
}
