import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GATEWAY_EVENTS_PATH } from '#contracts/gateway-wire.ts'
import { GATEWAY_SOCKET } from '#contracts/job.ts'
import { speak } from './stub-model.ts'

/** Stores nothing, and answers whatever lets the run go on. */
const audience: RequestListener = (request, response) => {
  if (!request.url?.startsWith(GATEWAY_EVENTS_PATH)) return speak(request, response)
  request.resume()
  request.once('end', () => {
    const answer = request.method === 'GET' ? { events: [] } : { outcome: 'stored', seqs: [], ending: false }
    const text = JSON.stringify(answer)
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    response.end(text)
  })
}

/** What an agent without a network needs to work, and nothing more: events are swallowed, the model says "Done.". */
export const startStubGateway = async (): Promise<{ readonly directory: string } & AsyncDisposable> => {
  const directory = await mkdtemp(join(tmpdir(), 'mgx-bench-gw-'))
  await chmod(directory, 0o755)
  const server = createServer(audience)
  await new Promise<void>((resolve) => server.listen(join(directory, GATEWAY_SOCKET), resolve))
  await chmod(join(directory, GATEWAY_SOCKET), 0o666)
  return {
    directory,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await rm(directory, { recursive: true, force: true })
    },
  }
}
