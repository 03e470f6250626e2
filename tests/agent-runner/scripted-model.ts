import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What a model was asked, as far as tests look at it. */
export type ModelRequest = {
  readonly authorization: string | undefined
  readonly messages: readonly { role: string; content: unknown; tool_calls?: readonly { id: string }[] }[]
  readonly model: string
  readonly tools: readonly { function: { name: string } }[]
  /** Resolves when the connection of this request is gone. */
  readonly closed: Promise<void>
}

export type Reply = (response: ServerResponse, request: IncomingMessage) => void | Promise<void>

export type ScriptedModel = AsyncDisposable & {
  readonly baseUrl: string
  readonly requests: ModelRequest[]
}

type Delta = Readonly<Record<string, unknown>>

const chunk = (delta: Delta, finishReason: string | null = null) =>
  `data: ${JSON.stringify({
    id: 'c',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'm',
    choices: [{ index: 0, delta, finish_reason: finishReason }],
  })}\n\n`

const USAGE = `data: ${JSON.stringify({
  id: 'c',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'm',
  choices: [],
  usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
})}\n\n`

const open = (response: ServerResponse) => response.writeHead(200, { 'content-type': 'text/event-stream' })

const end = (response: ServerResponse, reason: string) => {
  response.write(chunk({}, reason))
  response.write(USAGE)
  response.end('data: [DONE]\n\n')
}

/** An answer in words, piece by piece. */
export const says =
  (...pieces: string[]): Reply =>
  (response) => {
    open(response)
    for (const piece of pieces) response.write(chunk({ content: piece }))
    end(response, 'stop')
  }

export type Call = { readonly name: string; readonly args: object | string; readonly id?: string }

/** An answer that calls tools; arguments that are a text are sent as they are, well formed or not. */
export const calls =
  (wanted: readonly Call[], options: { readonly text?: string; readonly reason?: string } = {}): Reply =>
  (response) => {
    open(response)
    if (options.text !== undefined) response.write(chunk({ content: options.text }))
    for (const [index, { name, args, id }] of wanted.entries()) {
      const text = typeof args === 'string' ? args : JSON.stringify(args)
      const half = Math.ceil(text.length / 2)
      const start = { index, id: id ?? `call_${index}`, type: 'function', function: { name, arguments: '' } }
      response.write(chunk({ tool_calls: [start] }))
      for (const part of [text.slice(0, half), text.slice(half)])
        response.write(chunk({ tool_calls: [{ index, function: { arguments: part } }] }))
    }
    end(response, options.reason ?? 'tool_calls')
  }

/** An HTTP error. */
export const fails =
  (status: number, headers: Readonly<Record<string, string>> = {}, message = 'scripted'): Reply =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(JSON.stringify({ error: { message, type: 'scripted' } }))
  }

/** Begins an answer, then does something else. */
export const begins =
  (pieces: readonly string[], then: 'cut' | 'stall' | 'eof'): Reply =>
  async (response, request) => {
    open(response)
    for (const piece of pieces) response.write(chunk({ content: piece }))
    if (then === 'eof') response.end()
    if (then === 'cut') setTimeout(() => request.socket.destroy(), 50)
  }

const read = async (request: IncomingMessage): Promise<ModelRequest> => {
  let text = ''
  for await (const part of request) text += String(part)
  const closed = new Promise<void>((resolve) => request.socket.once('close', () => resolve()))
  return { ...(JSON.parse(text) as ModelRequest), authorization: request.headers.authorization, closed }
}

/**
 * An OpenAI-compatible server that gives one reply after the other, also broken ones, which no mock library can make.
 * When there is none left it answers 400, which ends a run.
 */
export const openScriptedModel = async (replies: readonly Reply[]): Promise<ScriptedModel> => {
  const requests: ModelRequest[] = []
  const server = createServer((request, response) => {
    void read(request).then((asked) => {
      requests.push(asked)
      const reply = replies[requests.length - 1] ?? fails(400, {}, 'the script is over')
      return reply(response, request)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    requests,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
