import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { MongoClient } from 'mongodb'
import { manualJob } from '#agent-runner/manual-job.ts'
import type { SessionEvent } from '#contracts/events.ts'
import { tempDir, waitFor } from '../helpers.ts'
import { startMongo } from '../services/mongodb.ts'
import { calls, fails, openScriptedModel, type Reply, says } from './scripted-model.ts'
import { checkLog, startRunner } from './world.ts'

const service = await startMongo()
const skip = 'skip' in service ? service.skip : false
after(async () => {
  if (!('skip' in service)) await service[Symbol.asyncDispose]()
})

const KEY = 'sk-the-users-own-key'

/** A database of one test, dropped after it, and the environment of the user's `docker run`. */
const openManual = async (t: { after(fn: () => Promise<void>): void }, replies: readonly Reply[]) => {
  if ('skip' in service) throw new Error(service.skip)
  const workspace = join(await tempDir(t), 'workspace')
  await mkdir(workspace)
  const model = await openScriptedModel(replies)
  const client = new MongoClient(service.url)
  const db = client.db(`runner-${randomUUID()}`)
  t.after(async () => {
    await db.dropDatabase()
    await client.close()
    await model[Symbol.asyncDispose]()
  })
  const env = {
    SESSION_ID: 'by-hand',
    WORKSPACE_ID: 'w-1',
    FRAMEWORK: 'static',
    PROMPT: 'say hello',
    MONGODB_URL: service.url,
    MONGODB_DB: db.databaseName,
    OPENAI_API_KEY: KEY,
    OPENAI_BASE_URL: model.baseUrl,
    OPENAI_MODEL: 'scripted',
    REDIS_URL: 'redis://nowhere:6379',
    LANGFUSE_SECRET_KEY: 'sk-langfuse-secret',
  }
  const log = async () =>
    (await db
      .collection('events')
      .find({ session_id: 'by-hand' })
      .sort({ timestamp: 1, seq: 1 })
      .toArray()) as unknown as SessionEvent[]
  return { workspace, model, env, log, db }
}

describe("by hand, as in the user's document", { skip }, () => {
  test('without RUN_ID, Redis or a worker: user_message first, finish last, found by the documented queries', async (t) => {
    const world = await openManual(t, [
      calls([{ name: 'bash', args: { command: 'env; cat /proc/self/environ' } }]),
      says('Hello.'),
    ])
    const runner = startRunner(t, world.workspace, { env: world.env })
    assert.equal((await runner.exited).code, 0, runner.stderr())
    const log = await world.log()
    checkLog(log)
    const [first, second] = log
    assert.deepEqual(
      [first?.event_type, first?.event_type === 'user_message' && first.data.source, second?.event_type],
      ['user_message', 'environment', 'agent_start'],
    )
    const finish = await world.db.collection('events').findOne({ session_id: 'by-hand', event_type: 'finish' })
    assert.deepEqual([finish?.data.status, finish?.data.synthetic], ['success', false])
    assert.equal(world.model.requests[0]?.authorization, `Bearer ${KEY}`)
    const all = JSON.stringify(log) + runner.stdout() + runner.stderr()
    for (const secret of [KEY, 'sk-langfuse-secret']) assert.equal(all.includes(secret), false)
    assert.match(runner.stdout(), /agent started: session by-hand/)
  })

  test('a second one goes on in the same session', async (t) => {
    const world = await openManual(t, [says('One.'), says('Two.')])
    await startRunner(t, world.workspace, { env: world.env }).exited
    await startRunner(t, world.workspace, { env: { ...world.env, PROMPT: 'and now?' } }).exited
    assert.deepEqual(world.model.requests[1]?.messages.map(({ role, content }) => [role, content]).slice(1), [
      ['user', 'say hello'],
      ['assistant', 'One.'],
      ['user', 'and now?'],
    ])
    assert.deepEqual(
      (await world.log()).map((event) => event.seq),
      (await world.log()).map((_, i) => i + 1),
    )
  })

  test('a RUN_ID that is over is not begun again', async (t) => {
    const world = await openManual(t, [says('One.'), says('never asked')])
    const env = { ...world.env, RUN_ID: 'my-run' }
    assert.equal((await startRunner(t, world.workspace, { env }).exited).code, 0)
    const before = (await world.log()).length
    const again = startRunner(t, world.workspace, { env })
    assert.equal((await again.exited).code, 143)
    assert.match(again.stderr(), /the run is over, or another container has it or had it/)
    assert.equal(world.model.requests.length, 1)
    assert.equal((await world.log()).length, before)
  })

  test('a model API that repeats the key: nobody gets to see it', async (t) => {
    const world = await openManual(t, [fails(401, {}, `wrong key ${KEY}`)])
    const runner = startRunner(t, world.workspace, { env: world.env })
    assert.equal((await runner.exited).code, 1)
    const all = JSON.stringify(await world.log()) + runner.stdout() + runner.stderr()
    assert.match(all, /wrong key \[redacted\]/)
    assert.equal(all.includes(KEY), false)
  })

  test('the direct channel from a worker: the job on standard input, finish left to the worker on TERM', async (t) => {
    const world = await openManual(t, [calls([{ name: 'bash', args: { command: 'sleep 300' } }])])
    const { env } = world
    const made = manualJob({ ...env, RUN_ID: 'r-1' }, 'box')
    assert.ok('job' in made)
    const runner = startRunner(t, world.workspace, { input: JSON.stringify(made.job) })
    await waitFor(async () => (await world.log()).some((event) => event.event_type === 'tool_start'))
    runner.child.kill('SIGTERM')
    assert.equal((await runner.exited).code, 143)
    const log = await world.log()
    checkLog(log, { finished: false })
    assert.deepEqual([log[0]?.event_type, log.at(-1)?.event_type], ['agent_start', 'agent_end'])
  })

  test('TERM: nobody else writes finish, so the runner does', async (t) => {
    const world = await openManual(t, [calls([{ name: 'bash', args: { command: 'sleep 300' } }])])
    const runner = startRunner(t, world.workspace, { env: world.env })
    await waitFor(async () => (await world.log()).some((event) => event.event_type === 'tool_start'))
    runner.child.kill('SIGTERM')
    assert.equal((await runner.exited).code, 143)
    const log = await world.log()
    checkLog(log)
    const last = log.at(-1)
    assert.equal(last?.event_type === 'finish' && last.data.cause, 'cancelled')
  })

  test('a workspace it cannot write: the remedy on stderr, exit 78, finish in the log', async (t) => {
    const world = await openManual(t, [says('never asked')])
    await chmod(world.workspace, 0o555)
    const isRoot = process.getuid?.() === 0
    const env = { ...world.env, ...(isRoot ? { WORKSPACE_DIR: join(world.workspace, 'missing') } : {}) }
    const runner = startRunner(t, world.workspace, { env })
    assert.equal((await runner.exited).code, 78)
    assert.match(runner.stderr(), isRoot ? /does not exist; mount a directory/ : /chown -R \d+:\d+ .*--user/)
    const last = (await world.log()).at(-1)
    assert.equal(last?.event_type === 'finish' && last.data.cause, 'workspace_unavailable')
  })
})

test('a bad environment: one line for each variable that is wrong, exit 78, no value repeated', async (t) => {
  const dir = await tempDir(t)
  const absent = startRunner(t, dir, { env: { PROMPT: 'x', SESSION_ID: 's' } })
  assert.equal((await absent.exited).code, 78)
  assert.equal(
    absent.stderr(),
    ['WORKSPACE_ID', 'FRAMEWORK', 'MONGODB_URL', 'OPENAI_API_KEY']
      .map((name) => `mgx agent: ${name}: is missing\n`)
      .join(''),
  )
  const wrong = {
    PROMPT: 'x',
    SESSION_ID: '../s',
    WORKSPACE_ID: 'w',
    FRAMEWORK: 'cobol',
    MONGODB_URL: 'mongodb://user:hunter22@nowhere/db',
    OPENAI_API_KEY: KEY,
    AGENT_MAX_STEPS: 'many',
  }
  const bad = startRunner(t, dir, { env: wrong })
  assert.equal((await bad.exited).code, 78)
  assert.match(bad.stderr(), /SESSION_ID: an id is 1 to 63 characters/)
  assert.match(bad.stderr(), /FRAMEWORK: must be one of nextjs, fastapi-vite, vite, static/)
  assert.match(bad.stderr(), /AGENT_MAX_STEPS: /)
  assert.doesNotMatch(bad.stderr(), /hunter22|many|cobol/)
})

test('what the environment leaves out has the defaults of a worker', () => {
  const env = {
    SESSION_ID: 's',
    WORKSPACE_ID: 'w',
    FRAMEWORK: 'vite',
    PROMPT: 'p',
    MONGODB_URL: 'mongodb://x',
    MONGODB_DB: '',
    OPENAI_API_KEY: 'k',
  }
  const made = manualJob(env, 'box')
  assert.ok('job' in made)
  const { job } = made
  assert.deepEqual([job.model, job.max_steps, job.container_id], ['gpt-4.1', 100, 'box'])
  assert.equal(job.channel.kind === 'direct' && job.channel.mongodb_db, 'mgx')
  assert.match(job.run_id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
  for (const seconds of ['0', '-1', '1.5', 'x', '99999'])
    assert.ok('problems' in manualJob({ ...env, AGENT_TASK_TIMEOUT_SECONDS: seconds }, 'box'), seconds)
})
