/**
 * The architecture of the user's document, as plainly as it can be built: the API stores the prompt and queues a job; a
 * worker starts a container with the agent's environment and polls the store every 2 s for `finish`; every follower polls
 * the store every 500 ms. Same image, same hardening, same database and queue as ours, indexes where they are needed.
 * Started by bench/stack.ts.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue, Worker } from 'bullmq'
import Docker from 'dockerode'
import { type FastifyReply, fastify } from 'fastify'
import { MongoClient } from 'mongodb'
import { dockerOptions } from '#scheduler/engines/docker-options.ts'

const STORE_POLL_MS = 2_000
const SSE_POLL_MS = 500

const env = (name: string): string => {
  const value = process.env[name]
  if (value === undefined) throw new Error(`${name} is not set`)
  return value
}

type Body = { readonly session_id: string; readonly prompt: string }
type Event = { readonly session_id: string; readonly seq: number; readonly event_type: string }

const client = await new MongoClient(env('MONGODB_URL'), { writeConcern: { w: 'majority' } }).connect()
const db = client.db(env('MONGODB_DB'))
const events = db.collection<Event>('events')
await events.createIndex({ session_id: 1, seq: 1 }, { unique: true })
const connection = { url: env('REDIS_URL') }
const queue = new Queue<Body>('polling', { connection })
const docker = new Docker()

const containerOptions = async ({ session_id, prompt }: Body): Promise<Docker.ContainerCreateOptions> => {
  const path = join(env('WORKSPACES_ROOT'), session_id)
  await mkdir(path, { recursive: true, mode: 0o777 })
  const ids = { session_id, run_id: session_id, workspace_id: session_id, tenant_id: 'bench' }
  const limits = { memoryBytes: 2 ** 31, cpuQuota: 100_000, pids: 512, tmpBytes: 2 ** 30 }
  const agent = {
    SESSION_ID: session_id,
    WORKSPACE_ID: session_id,
    FRAMEWORK: 'static',
    PROMPT: prompt,
    MONGODB_URL: env('AGENT_MONGODB_URL'),
    MONGODB_DB: env('MONGODB_DB'),
    OPENAI_API_KEY: 'bench',
    OPENAI_BASE_URL: env('OPENAI_BASE_URL'),
    OPENAI_MODEL: 'stub',
  }
  const spec = { ...ids, name: `mgx-agent-${session_id}`, image: env('IMAGE'), user: '0:0', network: 'bridge', limits }
  const workspace = { path, hostPath: path }
  const options = dockerOptions({ ...spec, env: agent, labels: {}, extraHosts: [], workspace }, env('INSTALLATION'))
  const HostConfig = { ...options.HostConfig, AutoRemove: true }
  return { ...options, HostConfig, OpenStdin: false, AttachStdin: false }
}

const work = async (body: Body): Promise<void> => {
  const container = await docker.createContainer(await containerOptions(body))
  await container.start()
  while ((await events.findOne({ session_id: body.session_id, event_type: 'finish' })) === null) {
    await sleep(STORE_POLL_MS)
  }
}

const stream = async (reply: FastifyReply, sessionId: string): Promise<void> => {
  const { raw } = reply
  reply.hijack()
  raw.writeHead(200, { 'content-type': 'text/event-stream' })
  raw.flushHeaders()
  let after = 0
  while (!raw.destroyed) {
    const found = await events
      .find({ session_id: sessionId, seq: { $gt: after } })
      .sort({ seq: 1 })
      .toArray()
    for (const event of found) {
      raw.write(`id: ${event.seq}\nevent: ${event.event_type}\ndata: ${JSON.stringify(event)}\n\n`)
      after = event.seq
    }
    if (found.some((event) => event.event_type === 'finish')) return void raw.end()
    await sleep(SSE_POLL_MS)
  }
}

const worker = new Worker<Body>('polling', (job) => work(job.data), {
  connection,
  concurrency: Number(env('CONCURRENCY')),
})
const app = fastify()
app.get('/readyz', async () => ({ ok: true }))
app.post<{ Body: Body }>('/api/agent/generate', async (request, reply) => {
  await db.collection<{ _id: string }>('sessions').insertOne({ _id: request.body.session_id, ...request.body })
  await queue.add('run', request.body)
  await stream(reply, request.body.session_id)
})
app.get<{ Params: { id: string } }>('/api/agent/sessions/:id/events', (request, reply) =>
  stream(reply, request.params.id),
)
await app.listen({ port: Number(env('PORT')), host: '127.0.0.1' })
process.once('SIGTERM', async () => {
  app.server.closeAllConnections()
  await Promise.all([app.close(), worker.close(true), queue.close()])
  await client.close(true)
  process.exit(0)
})
