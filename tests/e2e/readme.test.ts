import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { chown, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { type Db, MongoClient } from 'mongodb'
import { DEMO_MODEL, openDemoModel } from '#main/demo-model.ts'
import { tempDir, waitFor } from '../helpers.ts'
import { bridgeAddress } from '../services/bridge.ts'
import { openDocker } from '../services/docker.ts'
import { testImage } from '../services/image.ts'
import { startMongo } from '../services/mongodb.ts'
import { testStack } from './cleanup.ts'
import { openServer } from './embedded-server.ts'
import { readmeBlocks, runBlock } from './readme-blocks.ts'

const LIMIT = { timeout: 120_000 }
const README_URL = 'http://localhost:8000'

const blocks = await readmeBlocks()
const block = (name: string): string => {
  const code = blocks.get(name)
  if (code === undefined) throw new Error(`the README has no block "${name}"`)
  return code
}

const docker = await openDocker()
const withDocker = { ...LIMIT, skip: 'skip' in docker ? docker.skip : false }

test('every block that the README calls tested is tested here', () => {
  assert.deepEqual(
    [...blocks.keys()],
    ['generate', 'events', 'result, logs, stop', 'queries', 'docker-logs', 'docker-run'],
  )
})

test('the curl commands: generate, events, runs, result, logs, stop', LIMIT, async (t) => {
  const { url } = await openServer(t, { ENGINE: 'process' })
  const here = { [README_URL]: url }
  const accepted = JSON.parse((await runBlock(block('generate'), here)).stdout) as Record<string, string>
  assert.equal(accepted.status, 'queued')
  assert.equal(accepted.session_id, 'test-session-1')
  const { stdout: events } = await runBlock(block('events'), here)
  assert.match(events, /^id: 1\nevent: user_message\n/m)
  assert.match(events, /event: finish\ndata: .*"cause":"completed".*\n\n$/)
  const env = { RUN_ID: accepted.run_id ?? '' }
  await waitFor(
    async () => (await fetch(`${url}/api/agent/sessions/test-session-1/runs/${env.RUN_ID}/result`)).status === 200,
    { what: 'the result' },
  )
  const [runs = '', result = '', logs = '', stop = ''] = block('result, logs, stop').trim().split('\n')
  const answer = async (line: string) => (await runBlock(line, here, { env })).stdout
  assert.match(await answer(runs), new RegExp(env.RUN_ID))
  assert.match(await answer(result), /"status":"success"/)
  assert.match(await answer(logs), /agent started/)
  assert.match(await answer(stop), /"code":"RUN_OVER"/)
})

test('docker logs, while the run is at work', withDocker, async (t) => {
  const { url } = await openServer(t, { ENGINE: 'docker', AGENT_CONTAINER_IMAGE: await testImage() })
  await runBlock(block('generate'), { [README_URL]: url })
  const logs = await waitFor(
    async () => {
      const said = await runBlock(block('docker-logs'), {})
      return said.stdout !== '' && said
    },
    { what: 'the container to speak' },
  )
  assert.match(logs.stdout, /agent started: session test-session-1/)
  assert.match(logs.stdout, /agent ended: completed/)
})

/** Evaluates a line of the README in a shell of MongoDB as far as it needs one. */
const query = async (db: Db, line: string): Promise<Record<string, unknown>[]> => {
  const shell = { events: db.collection('events') }
  return (new Function('db', `return ${line}`) as (db: unknown) => ReturnType<Db['collection']['prototype']['find']>)(
    shell,
  ).toArray()
}

const openByHand = async (t: TestContext) => {
  if ('skip' in docker) return docker
  const bridge = await bridgeAddress(docker.docker)
  const stack = testStack(t)
  const mongo = await startMongo({ alsoBind: [bridge] })
  if ('skip' in mongo) return mongo
  stack.use(mongo)
  const model = stack.use(await openDemoModel(bridge))
  const client = stack.use(new MongoClient(mongo.urlFor({ direct: true })))
  const cwd = await tempDir(t)
  const workspace = join(cwd, 'workspaces', 'test-workspace-2')
  await mkdir(workspace, { recursive: true })
  // The container's name is the machine's, not this test's: two runs of the tests at once must not meet.
  const name = `mgx-agent-test-${randomUUID().slice(0, 8)}`
  stack.defer(async () => void (await runBlock(`docker rm -f ${name}`, {})))
  const env = {
    MONGODB_URL: mongo.urlFor({ host: bridge, direct: true }),
    OPENAI_API_KEY: 'sk-none',
    OPENAI_BASE_URL: model.baseUrl,
  }
  return { db: client.db('mgx'), cwd, workspace, name, env }
}

describe('docker run by hand', withDocker, () => {
  test('writes its events and its files; the queries of the README find them', LIMIT, async (t) => {
    const world = await openByHand(t)
    if ('skip' in world) return t.skip(world.skip)
    if (process.getuid?.() === 0) await chown(world.workspace, 1000, 1000)
    const swaps = {
      'mgx:latest': await testImage(),
      'gpt-4.1': DEMO_MODEL,
      'mgx-agent-test-session-2': world.name,
      ...(process.getuid?.() === 0 ? {} : { '--rm': `--rm --user ${process.getuid?.()}:${process.getgid?.()}` }),
    }
    const { stdout } = await runBlock(block('docker-run'), swaps, { cwd: world.cwd, env: world.env })
    assert.match(stdout, /agent started: session test-session-2/)

    const [all = '', last = ''] = block('queries').replaceAll('test-session-1', 'test-session-2').trim().split('\n')
    const events = await query(world.db, all)
    assert.deepEqual(
      events.map((event) => event.seq),
      events.map((_, index) => index + 1),
    )
    assert.equal(events.at(-1)?.event_type, 'finish')
    const [finish, ...more] = await query(world.db, last)
    assert.deepEqual(more, [])
    assert.match(JSON.stringify(finish), /"cause":"completed"/)
  })

  test('a workspace that the agent cannot write to is a clear error', LIMIT, async (t) => {
    const world = await openByHand(t)
    if ('skip' in world) return t.skip(world.skip)
    const swaps = {
      'mgx:latest': await testImage(),
      'gpt-4.1': DEMO_MODEL,
      'mgx-agent-test-session-2': world.name,
      '--rm': '--rm --user 4711:4711',
    }
    const failed = await runBlock(block('docker-run'), swaps, { cwd: world.cwd, env: world.env }).then(
      () => undefined,
      (error: { code: number; stderr: string; stdout: string }) => error,
    )
    assert.ok(failed !== undefined && failed.code > 0, 'it fails')
    assert.match(`${failed.stdout}${failed.stderr}`, /workspace/)
  })
})
