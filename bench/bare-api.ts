/**
 * The baseline of `generate`: the least that an API of this shape can do. One insert with `w: majority`, one BullMQ job.
 * Started by bench/generate.ts with PORT, MONGODB_URL, MONGODB_DB and REDIS_URL.
 */
import { randomUUID } from 'node:crypto'
import { Queue } from 'bullmq'
import { fastify } from 'fastify'
import { MongoClient } from 'mongodb'

const env = (name: string): string => {
  const value = process.env[name]
  if (value === undefined) throw new Error(`${name} is not set`)
  return value
}

const client = await new MongoClient(env('MONGODB_URL')).connect()
const runs = client.db(env('MONGODB_DB')).collection<{ _id: string }>('bare_runs', { writeConcern: { w: 'majority' } })
const queue = new Queue('bare', { connection: { url: env('REDIS_URL') } })
const app = fastify()
app.get('/readyz', async () => ({ ok: true }))
app.post('/generate', async (request, reply) => {
  const id = randomUUID()
  await runs.insertOne({ _id: id, ...(request.body as object) })
  await queue.add('run', { id }, { jobId: id })
  return reply.code(202).send({ id })
})
await app.listen({ port: Number(env('PORT')), host: '127.0.0.1' })
process.once('SIGTERM', async () => {
  await app.close()
  await queue.close()
  await client.close()
})
