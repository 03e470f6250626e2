import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { sleep } from '../helpers.ts'

/** A model that talks until the test lets it end: so a fault hits while events are on their way. */
export type PacedModel = AsyncDisposable & {
  /** Up to and including the version, as OPENAI_BASE_URL has it. */
  readonly baseUrl: string
  /** How many answers to this prompt were asked for: one that broke off is asked for again. */
  asked(prompt: string): number
  /** Lets the answers to this prompt come to their end. */
  release(prompt: string): void
}

type Message = { readonly role: string; readonly content?: unknown }

/** Milliseconds between two words. */
const PACE_MS = 40

/** A second runner of the same run would leave a second line. */
export const FIRST_COMMAND = 'echo ran >> ran.txt'

/** What makes the agent run this command and then talk. */
export const promptOf = (name: string, command: string): string => `Talk about ${name}\n$ ${command}`

const textOf = (content: unknown): string => {
  if (typeof content === 'string') return content
  return Array.isArray(content) ? content.map((part: { text?: string }) => part.text ?? '').join('') : ''
}

const read = async (request: IncomingMessage): Promise<readonly Message[]> => {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return (JSON.parse(Buffer.concat(parts).toString()) as { messages: Message[] }).messages
}

const send = (response: ServerResponse, delta: object, finishReason: string | null = null): void => {
  const choices = [{ index: 0, delta, finish_reason: finishReason }]
  const chunk = { id: 'c', object: 'chat.completion.chunk', created: 1, model: 'paced', choices }
  response.write(`data: ${JSON.stringify(chunk)}\n\n`)
}

const end = (response: ServerResponse, reason: string): void => {
  send(response, {}, reason)
  response.end('data: [DONE]\n\n')
}

const callFirst = (response: ServerResponse, prompt: string): void => {
  const command = prompt.split('\n$ ')[1] ?? FIRST_COMMAND
  const call = { name: 'bash', arguments: JSON.stringify({ command }) }
  send(response, { tool_calls: [{ index: 0, id: 'call_first', type: 'function', function: call }] })
  end(response, 'tool_calls')
}

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

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const messages = await read(request)
    const start = messages.findLastIndex(({ role }) => role === 'user')
    const prompt = textOf(messages[start]?.content)
    asked.set(prompt, (asked.get(prompt) ?? 0) + 1)
    response.on('error', () => {})
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    if (messages.length === start + 1) callFirst(response, prompt)
    else await talk(response, () => released.has(prompt))
  }

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, host, resolve))
  const { port } = server.address() as AddressInfo
  return {
    baseUrl: `http://${host}:${port}/v1`,
    asked: (prompt) => asked.get(prompt) ?? 0,
    release: (prompt) => void released.add(prompt),
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}
