import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** The chat completions of OpenAI as a stream, spoken by a test's own model. */

export type Message = { readonly role: string; readonly content?: unknown }

export type ModelServer = AsyncDisposable & { readonly host: string; readonly port: number }

const textOf = (content: unknown): string => {
  if (typeof content === 'string') return content
  return Array.isArray(content) ? content.map((part: { text?: string }) => part.text ?? '').join('') : ''
}

/** The last prompt, and how many answers it has had. */
export const turnOf = (messages: readonly Message[]): { readonly prompt: string; readonly step: number } => {
  const start = messages.findLastIndex(({ role }) => role === 'user')
  const step = messages.slice(start + 1).filter(({ role }) => role === 'assistant').length
  return { prompt: textOf(messages[start]?.content), step }
}

const read = async (request: IncomingMessage): Promise<readonly Message[]> => {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return (JSON.parse(Buffer.concat(parts).toString()) as { messages: Message[] }).messages
}

export const send = (response: ServerResponse, delta: object, finishReason: string | null = null): void => {
  const choices = [{ index: 0, delta, finish_reason: finishReason }]
  const chunk = { id: 'c', object: 'chat.completion.chunk', created: 1, model: 'scripted', choices }
  response.write(`data: ${JSON.stringify(chunk)}\n\n`)
}

export const end = (response: ServerResponse, reason: 'stop' | 'tool_calls'): void => {
  send(response, {}, reason)
  response.end('data: [DONE]\n\n')
}

/** An answer that wants this command to be run. */
export const callBash = (response: ServerResponse, command: string, id = 'call_first'): void => {
  const call = { name: 'bash', arguments: JSON.stringify({ command }) }
  send(response, { tool_calls: [{ index: 0, id, type: 'function', function: call }] })
  end(response, 'tool_calls')
}

export const beginStream = (response: ServerResponse): void =>
  void response.writeHead(200, { 'content-type': 'text/event-stream' })

/** Serves `answer` on a free port; an answer that fails breaks the connection off. */
export const serveModel = async (
  host: string,
  answer: (messages: readonly Message[], response: ServerResponse) => Promise<void>,
): Promise<ModelServer> => {
  const server = createServer((request, response) => {
    response.on('error', () => {})
    read(request)
      .then((messages) => answer(messages, response))
      .catch(() => response.destroy())
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, host, resolve))
  return {
    host,
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}
