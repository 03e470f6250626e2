import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GATEWAY_EVENTS_PATH } from '#contracts/gateway-wire.ts'
import type { RunnerJob } from '#contracts/job.ts'
import { parseJob } from './job-line.ts'
import { runJob } from './run.ts'
import { createGatewaySink } from './sinks/gateway.ts'
import { commandEnv } from './tools/command-env.ts'

/** A rehearsal that hangs is none: the runner waits for its job without it. */
const LIMIT_MS = 10_000

const NEVER = '2999-01-01T00:00:00.000Z'

const jobOf = (url: string): RunnerJob => ({
  v: 1,
  tenant_id: 'rehearsal',
  session_id: 'rehearsal',
  run_id: 'rehearsal',
  workspace_id: 'rehearsal',
  framework: 'static',
  prompt: 'Say done.',
  model: 'rehearsal',
  max_steps: 1,
  deadline: NEVER,
  channel: { kind: 'gateway', url, token: 'rehearsal-of-nothing' },
})

const json = (response: ServerResponse, value: unknown): void => {
  const text = JSON.stringify(value)
  // With its length, as the gateway says it: the runner takes no other answer.
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  response.end(text)
}

const chunk = (choices: readonly unknown[]): string =>
  `data: ${JSON.stringify({ id: 'rehearsal', object: 'chat.completion.chunk', created: 0, model: 'rehearsal', choices })}\n\n`

/** A model that says one word. */
const speak = (response: ServerResponse): void => {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(chunk([{ index: 0, delta: { role: 'assistant', content: 'done' }, finish_reason: null }]))
  response.end(`${chunk([{ index: 0, delta: {}, finish_reason: 'stop' }])}data: [DONE]\n\n`)
}

/** The gateway of a run that nobody sees: stores nothing, and every answer is the one that lets the run go on. */
const audience: RequestListener = (request, response) => {
  request.resume()
  request.once('end', () => {
    if (!request.url?.startsWith(GATEWAY_EVENTS_PATH)) return speak(response)
    return json(response, request.method === 'GET' ? { events: [] } : { outcome: 'stored', seqs: [], ending: false })
  })
}

const perform = async (socket: string, workspace: string, signal: AbortSignal): Promise<void> => {
  const url = `unix:${socket}`
  const job = await parseJob(JSON.stringify(jobOf(url)))
  if ('wrong' in job) throw new Error(job.wrong)
  const outcome = await runJob({
    job,
    rawJob: job,
    hasWorker: true,
    sink: createGatewaySink(url, 'rehearsal-of-nothing'),
    workspace,
    commandEnv: commandEnv({}),
    secrets: ['rehearsal-of-nothing'],
    envHoldsSecrets: false,
    inContainer: false,
    terminated: signal,
    say: () => undefined,
    complain: () => undefined,
    version: 'rehearsal',
  })
  if (outcome !== 'ok') throw new Error(`the rehearsal ended as ${outcome}`)
}

/**
 * One whole run against nothing, in a process that waits for its job: what is loaded, compiled and connected then need not be
 * when the job has come. Leaves nothing behind. Rejects when it does not come to its end: then the job may still do.
 */
export const rehearse = async (terminated: AbortSignal): Promise<void> => {
  await using stack = new AsyncDisposableStack()
  const directory = await mkdtemp(join(tmpdir(), 'rehearsal-'))
  stack.defer(() => rm(directory, { recursive: true, force: true }))
  const socket = join(directory, 'gw.sock')
  const server = createServer(audience)
  const listening = Promise.withResolvers<void>()
  server.once('error', listening.reject)
  server.listen(socket, listening.resolve)
  await listening.promise
  stack.defer(() => {
    server.closeAllConnections()
    server.close()
  })
  await perform(socket, directory, AbortSignal.any([terminated, AbortSignal.timeout(LIMIT_MS)]))
}
