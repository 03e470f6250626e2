import type { LanguageModel } from 'ai'
import { GATEWAY_MODEL_PATH } from '#contracts/gateway-wire.ts'
import type { RunnerJob } from '#contracts/job.ts'
import { createModel } from '#models/provider.ts'
import { createCallIds } from './call-ids.ts'
import { addEvent, createConversation } from './conversation.ts'
import { type EgressRelay, openEgressRelay } from './egress-relay.ts'
import { createGatewayFetch } from './gateway-fetch.ts'
import type { History } from './history.ts'
import { type LoopEnd, RETRY_LIMITS, runLoop } from './loop.ts'
import { STEP_TIMEOUTS } from './model-step.ts'
import type { Progress } from './progress.ts'
import { instructionsFor } from './prompt.ts'
import type { Recorder } from './recorder.ts'
import type { RunnerSetup } from './runner-setup.ts'
import type { Redactor } from './secrets.ts'
import type { CommandEgress } from './tools/bash.ts'
import { readableEnvironments } from './tools/secret-check.ts'
import { createToolbox } from './tools/toolbox.ts'
import { createTunnelFetch } from './tunnel-fetch.ts'

/** The heavy part of the runner: loaded while `agent_start` is on its way. */

export type WorkDeps = {
  readonly setup: RunnerSetup
  readonly recorder: Recorder
  readonly redactor: Redactor
  readonly progress: Progress
  readonly history: History
  readonly signal: AbortSignal
}

const DEFAULT_BASE_URL = 'https://api.openai.com/v1'

const directModel = (channel: Extract<RunnerJob['channel'], { kind: 'direct' }>, model: string): LanguageModel => {
  const { openai_base_url: baseUrl = DEFAULT_BASE_URL, openai_api_key: apiKey, egress } = channel
  return createModel({ baseUrl, apiKey, model, ...(egress && { fetch: createTunnelFetch(baseUrl, egress) }) })
}

const modelOf = ({ channel, model }: RunnerJob): LanguageModel =>
  channel.kind === 'gateway'
    ? createModel({
        // No host of this name is ever looked up: the gateway's socket takes every request.
        baseUrl: `http://gateway${GATEWAY_MODEL_PATH}`,
        apiKey: channel.token,
        model,
        fetch: createGatewayFetch(channel.url),
      })
    : directModel(channel, model)

const REFUSAL =
  'Commands are refused in this container: they could read the environment of the runner, which holds keys. Start it as the image intends (no --init, no shell as entry point, not as root), or through mgx, which passes no keys by environment. The file tools work.'

/** Looks, before the first command, whether commands could read the environments that matter; asked only in a container. */
const commandRefusal = async ({ setup, recorder }: WorkDeps): Promise<string | undefined> => {
  if (!setup.inContainer) return undefined
  const readable = await readableEnvironments(setup.commandEnv)
  if (readable.length === 0) return undefined
  const level = setup.envHoldsSecrets ? 'error' : 'warn'
  const outcome = setup.envHoldsSecrets ? 'it holds keys, so no command is run' : 'it holds no keys'
  recorder.record('log', {
    level,
    message: `commands can read the environment of process ${readable.join(' and ')}: ${outcome}`,
  })
  return setup.envHoldsSecrets ? REFUSAL : undefined
}

/** Nothing listens before the first command asks. In the direct channel on an open network commands go their own way. */
const lazyEgress = (channel: RunnerJob['channel']): CommandEgress & AsyncDisposable => {
  const way = channel.kind === 'gateway' ? channel : channel.egress
  let opened: EgressRelay | undefined
  return {
    env: async () => {
      if (way === undefined) return {}
      opened ??= await openEgressRelay(way)
      return opened.env
    },
    refused: () => opened?.refused() ?? [],
    [Symbol.asyncDispose]: async () => opened?.[Symbol.asyncDispose](),
  }
}

const conversationOf = ({ history, setup }: WorkDeps) => {
  const conversation = createConversation()
  for (const event of history.earlier) addEvent(conversation, event)
  conversation.user(setup.job.prompt)
  return conversation
}

/** Works on the job until the model is done, or must stop. Rejects only when the runner itself is broken. */
export const work = async (deps: WorkDeps): Promise<LoopEnd> => {
  const { setup, recorder, redactor, progress, history, signal } = deps
  const { job, timings } = setup
  await using egress = lazyEgress(job.channel)
  await using toolbox = createToolbox({
    workspace: setup.workspace,
    env: setup.commandEnv,
    egress,
    inContainer: setup.inContainer,
    refusal: () => commandRefusal(deps),
    clean: redactor.clean,
  })
  return await runLoop({
    toolbox,
    recorder,
    redactor,
    progress,
    signal,
    say: setup.say,
    conversation: conversationOf(deps),
    model: modelOf(job),
    modelName: job.model,
    instructions: instructionsFor(job.framework, setup.workspace),
    maxSteps: job.max_steps,
    price: job.price,
    maxCostUsd: job.max_cost_usd,
    timeouts: { ...STEP_TIMEOUTS, ...timings?.step },
    retry: { ...RETRY_LIMITS, ...timings?.retry },
    callId: createCallIds(history.earlier),
  })
}
