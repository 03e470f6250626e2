import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { chmod, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { Redis } from 'ioredis'
import { MongoClient } from 'mongodb'
import { limitFindings } from '#main/doctor-docker.ts'
import type { Finding } from '#main/doctor-report.ts'
import { freePort, tempDir } from '../helpers.ts'
import { runCommand } from '../infra/image.ts'
import { ROOT } from '../runner/imports.ts'
import { startDaemon } from '../services/daemon.ts'
import { openDocker } from '../services/docker.ts'
import { testImage } from '../services/image.ts'
import { findMongod } from '../services/mongod-binary.ts'
import { startMongo } from '../services/mongodb.ts'
import { startRedis } from '../services/redis.ts'

const docker = await openDocker()
const noDocker = 'skip' in docker ? docker.skip : false

type Report = { readonly ready: boolean; readonly findings: readonly Finding[] }

const { PATH = '', HOME = '', DOCKER_HOST = '' } = process.env

const run = (env: Readonly<Record<string, string>>, ...args: readonly string[]) =>
  runCommand(process.execPath, [join(ROOT, 'src/main/doctor.ts'), ...args], {
    // Where no .env lies.
    cwd: tmpdir(),
    env: { PATH, HOME, ...(DOCKER_HOST && { DOCKER_HOST }), ...env },
  })

const report = async (env: Readonly<Record<string, string>>): Promise<Report & { readonly code: number | null }> => {
  const { stdout, stderr, code } = await run(env, '--json')
  assert.ok(stdout.startsWith('{'), stderr)
  return { ...(JSON.parse(stdout) as Report), code }
}

const of = ({ findings }: Report, check: string): Finding => {
  const found = findings.find((finding) => finding.check === check)
  assert.ok(found, `${check} among ${findings.map((finding) => finding.check).join(', ')}`)
  return found
}

const root = async (t: Parameters<typeof tempDir>[0]): Promise<string> => {
  const dir = await tempDir(t)
  await chmod(dir, 0o755)
  return dir
}

test('Docker: a good host is ready, every limit was measured, and nothing is left', { skip: noDocker }, async (t) => {
  const WORKSPACES_ROOT = await root(t)
  const { stdout, code } = await run({ WORKSPACES_ROOT, AGENT_CONTAINER_IMAGE: await testImage(), ENGINE: 'docker' })
  assert.equal(code, 0, stdout)
  assert.match(stdout, /^! workspace quota: none; .*\n {4}Set AGENT_WORKSPACE_QUOTA/m)
  for (const check of ['workspaces', 'image', 'user', 'hardening', 'limit of memory', 'limit of CPU', 'size of /tmp']) {
    assert.match(stdout, new RegExp(`^✔ ${check}: `, 'm'))
  }
  assert.match(stdout, /This host is ready/)
  const { stdout: left } = await runCommand('docker', ['ps', '-aq', '--filter', 'name=mgx-doctor'])
  assert.equal(left, '')
})

test('Docker: an image, a network or a root on the host that is not there, each with its remedy', {
  skip: noDocker,
}, async (t) => {
  const WORKSPACES_ROOT = await root(t)
  const good = { WORKSPACES_ROOT, ENGINE: 'docker', AGENT_CONTAINER_IMAGE: await testImage() }
  const image = of(await report({ ...good, AGENT_CONTAINER_IMAGE: 'mgx-nothing:none' }), 'Docker')
  assert.match(image.says, /no image mgx-nothing:none.*make build-agent/)
  assert.match(of(await report({ ...good, AGENT_NETWORK: 'nowhere' }), 'Docker').says, /no network nowhere/)
  const elsewhere = await report({ ...good, HOST_WORKSPACES_ROOT: '/nowhere/at/all' })
  assert.equal(elsewhere.code, 1)
  assert.match(of(elsewhere, 'container').remedy ?? '', /HOST_WORKSPACES_ROOT/)
})

test('a limit that is accepted and not enforced is a failure that says so', () => {
  const met = { tmpBytes: 1, processes: 2, cores: 0.1, endedByMemory: true }
  assert.ok(limitFindings(met).every(({ verdict }) => verdict === 'ok'))
  const nothing = limitFindings({ tmpBytes: 1e9, processes: 192, cores: 1.9, endedByMemory: false })
  assert.ok(nothing.every(({ verdict, says, remedy }) => verdict === 'failure' && /NOT ENFORCED/.test(says) && remedy))
})

test('a root that is not there or is a file; plain processes are said aloud', async (t) => {
  const dir = await root(t)
  const file = join(dir, 'file')
  await writeFile(file, '')
  for (const WORKSPACES_ROOT of [join(dir, 'missing'), file]) {
    const { stdout, code } = await run({ WORKSPACES_ROOT, ENGINE: 'process' })
    assert.equal(code, 1)
    assert.match(stdout, /^✖ workspaces: .* is not a directory\n {4}Create it, or set WORKSPACES_ROOT/m)
    assert.match(stdout, /^! engine: .*isolate nothing/m)
  }
})

describe('services', () => {
  const stack = new AsyncDisposableStack()
  after(() => stack.disposeAsync())

  const open = async (t: Parameters<typeof tempDir>[0]) => {
    const redis = await startRedis({ own: true })
    if ('skip' in redis) return redis
    stack.use(redis)
    const env = { WORKSPACES_ROOT: await root(t), ENGINE: 'process', REDIS_URL: redis.url, OPENAI_API_KEY: 'none' }
    return { env, redis }
  }

  test('a replica set and a Redis that never evicts are good', async (t) => {
    const opened = await open(t)
    const mongo = await startMongo()
    if ('skip' in opened || 'skip' in mongo) return t.skip('no MongoDB or Redis here')
    stack.use(mongo)
    const good = await report({ ...opened.env, MONGODB_URL: mongo.url, MONGODB_DB: 'doctor-test' })
    assert.deepEqual([good.ready, good.code], [true, 0])
    for (const check of [
      'MongoDB',
      'MongoDB, rights',
      'Redis',
      'Redis, eviction',
      'clock of MongoDB',
      'clock of Redis',
    ]) {
      assert.equal(of(good, check).verdict, 'ok', check)
    }
    assert.equal(of(good, 'Redis, persistence').verdict, 'warning')
  })

  test('a mongod alone, and a Redis that evicts, are failures', async (t) => {
    const opened = await open(t)
    const found = await findMongod()
    if ('skip' in opened || 'why' in found) return t.skip('no MongoDB or Redis here')
    const port = await freePort()
    const url = `mongodb://127.0.0.1:${port}/?directConnection=true`
    const args = (dir: string) => {
      mkdirSync(join(dir, 'db'))
      return ['--port', String(port), '--dbpath', join(dir, 'db'), '--nounixsocket', '--quiet']
    }
    const ready = async () => {
      await using client = new MongoClient(url, { serverSelectionTimeoutMS: 1000 })
      return (await client.db('admin').command({ ping: 1 })).ok === 1
    }
    stack.use(await startDaemon({ name: 'mongod', command: found.path, args, ready }))
    const client = new Redis(opened.redis.url)
    await client.config('SET', 'maxmemory-policy', 'allkeys-lru')
    client.disconnect()
    const bad = await report({ ...opened.env, MONGODB_URL: url })
    assert.deepEqual([bad.ready, bad.code], [false, 1])
    assert.match(of(bad, 'MongoDB').says, /without a replica set/)
    assert.match(of(bad, 'Redis, eviction').says, /allkeys-lru: it may forget jobs/)
    for (const check of ['MongoDB', 'Redis, eviction']) assert.ok(of(bad, check).remedy)
  })

  test("an agents' user with more rights than it needs is a failure; no password is printed", async (t) => {
    const opened = await open(t)
    const mongo = await startMongo({ auth: true })
    if ('skip' in opened || 'skip' in mongo) return t.skip('no MongoDB or Redis here')
    stack.use(mongo)
    const password = new URL(mongo.url).password
    const env = { ...opened.env, MONGODB_URL: mongo.url, AGENT_CHANNEL: 'direct', AGENT_MONGODB_URL: mongo.url }
    const { stdout, code } = await run(env)
    assert.equal(code, 1)
    assert.match(stdout, /^✖ agents' MongoDB user: may do more: /m)
    assert.match(stdout, /^✔ MongoDB, login: /m)
    assert.ok(!stdout.includes(password))
  })

  test('services that are not there: each says so, within seconds', async (t) => {
    const port = await freePort()
    const [MONGODB_URL, REDIS_URL] = [`mongodb://u:hidden@127.0.0.1:${port}`, `redis://:hidden@127.0.0.1:${port}`]
    const env = { WORKSPACES_ROOT: await root(t), ENGINE: 'process', OPENAI_API_KEY: 'none', MONGODB_URL, REDIS_URL }
    const { stdout, code } = await run(env)
    assert.equal(code, 1)
    assert.match(stdout, /^✖ MongoDB: .*\n {4}Start it, or correct MONGODB_URL/m)
    assert.match(stdout, /^✖ Redis: .*\n {4}Start it, or correct REDIS_URL/m)
    assert.ok(!stdout.includes('hidden'))
  })
})
