import { type Agent, type RequestOptions, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import type { FastifyInstance } from 'fastify'

/** One block of an event stream as it came; comments are kept, so that tests see heartbeats. */
export type Block = { id?: string; event?: string; data?: string; retry?: string; comment?: string }

const parseBlock = (text: string): Block => {
  const block: Block = {}
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':')
    const field = line.slice(0, colon)
    const value = line.slice(colon + 1).replace(/^ /, '')
    if (field === '') block.comment = value
    else if (field === 'data') block.data = block.data === undefined ? value : `${block.data}\n${value}`
    else if (field === 'id' || field === 'event' || field === 'retry') block[field] = value
    else throw new Error(`not a line of an event stream: ${line}`)
  }
  return block
}

/** The blocks of a body, as they come. */
export async function* blocksOf(response: Response): AsyncGenerator<Block> {
  if (response.body === null) return
  let text = ''
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk
    const blocks = text.split('\n\n')
    text = blocks.pop() ?? ''
    for (const block of blocks) yield parseBlock(block)
  }
  if (text !== '') throw new Error(`the stream ended inside a block: ${text}`)
}

/** All blocks with an id, until the stream ends. */
export const eventsOf = async (response: Response): Promise<Block[]> => {
  const events: Block[] = []
  for await (const block of blocksOf(response)) if (block.id !== undefined) events.push(block)
  return events
}

/** Listens on a free port of the loopback; closed after the test. */
export const listen = async (t: Pick<TestContext, 'after'>, app: FastifyInstance): Promise<string> => {
  t.after(() => app.close())
  return app.listen({ port: 0, host: '127.0.0.1' })
}

/** A client that sends a GET and then reads nothing until `resume`. */
export const stalledClient = async (t: Pick<TestContext, 'after'>, url: string): Promise<Socket> => {
  const { hostname, port, pathname } = new URL(url)
  const socket = connect(Number(port), hostname)
  t.after(() => socket.destroy())
  socket.on('error', () => undefined)
  await new Promise((resolve) => socket.once('connect', resolve))
  socket.pause()
  socket.write(`GET ${pathname} HTTP/1.1\r\nhost: ${hostname}\r\naccept: text/event-stream\r\n\r\n`)
  return socket
}

type Answer = { readonly status: number; readonly body: string }

const answerOf = (url: string, options: RequestOptions): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const sent = request(url, options, async (response) => {
      let body = ''
      response.setEncoding('utf8')
      for await (const chunk of response) body += chunk
      resolve({ status: response.statusCode ?? 0, body })
    })
    sent.on('error', reject)
    sent.end()
  })

/** A path as it is, without the tidying that `fetch` and URL do to dots. */
export const rawCall = (base: string, path: string, method = 'GET'): Promise<Answer> =>
  answerOf(base, { path, method, agent: false })

/** A GET on a connection of this agent. */
export const call = (agent: Agent, url: string): Promise<Answer> => answerOf(url, { agent })
