import type { ServerResponse } from 'node:http'
import { sleep } from '../helpers.ts'
import { beginStream, callBash, end, send, serveModel, turnOf } from './model-wire.ts'

/** A model that talks until the test lets it end: so a fault hits while events are on their way. */
export type PacedModel = AsyncDisposable & {
  /** Up to and including the version, as OPENAI_BASE_URL has it. */
  readonly baseUrl: string
  /** How many answers to this prompt were asked for: one that broke off is asked for again. */
  asked(prompt: string): number
  /** Lets the answers to this prompt come to their end. */
  release(prompt: string): void
}

/** Milliseconds between two words. */
const PACE_MS = 40

/** A second runner of the same run would leave a second line. */
export const FIRST_COMMAND = 'echo ran >> ran.txt'

/** What makes the agent run this command and then talk. */
export const promptOf = (name: string, command: string): string => `Talk about ${name}\n$ ${command}`

const talk = async (response: ServerResponse, isReleased: () => boolean): Promise<void> => {
  for (let n = 0; !response.destroyed && !isReleased(); n++) {
    send(response, { content: `word${n} ` })
    await sleep(PACE_MS)
  }
  send(response, { content: 'and that was all.' })
  end(response, 'stop')
}

/** An OpenAI-compatible server: each prompt gets one command, then words until it is released. */
export const openPacedModel = async (host = '127.0.0.1'): Promise<PacedModel> => {
  const asked = new Map<string, number>()
  const released = new Set<string>()
  const server = await serveModel(host, async (messages, response) => {
    const { prompt, step } = turnOf(messages)
    asked.set(prompt, (asked.get(prompt) ?? 0) + 1)
    beginStream(response)
    if (step === 0) callBash(response, prompt.split('\n$ ')[1] ?? FIRST_COMMAND)
    else await talk(response, () => released.has(prompt))
  })
  return {
    baseUrl: `http://${host}:${server.port}/v1`,
    asked: (prompt) => asked.get(prompt) ?? 0,
    release: (prompt) => void released.add(prompt),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}
