import { createServer, type RequestListener } from 'node:http'

const chunk = (delta: object, finish: string | null) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 0, model: 'stub', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`

const ANSWER = `${chunk({ role: 'assistant', content: 'Done.' }, null)}${chunk({}, 'stop')}data: [DONE]\n\n`

/** Says it, whatever was asked. */
export const speak: RequestListener = (request, response) => {
  request.resume()
  request.once('end', () => response.writeHead(200, { 'content-type': 'text/event-stream' }).end(ANSWER))
}

/** A model that says "Done." at once: what is timed here happens before a model is asked. */
export const startStubModel = async (host: string): Promise<{ port: number } & AsyncDisposable> => {
  const server = createServer(speak)
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no TCP address')
  return {
    port: address.port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
