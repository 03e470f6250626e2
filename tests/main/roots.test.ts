import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { freePort, tempDir, waitFor } from '../helpers.ts'
import { startRoot } from './process.ts'

/** Nobody listens on port 1. */
const NOBODY = { MONGODB_URL: 'mongodb://127.0.0.1:1/?replicaSet=rs0', REDIS_URL: 'redis://127.0.0.1:1' }

const messages = (stdout: string): string[] =>
  stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => String(JSON.parse(line).msg))

describe('a bad environment', () => {
  test('ends the API with 78 and one line for each bad variable', async (t) => {
    const { ended } = await startRoot(t, 'api', { PORT: 'eighty', MONGODB_URL: 'http://x', LOG_LEVEL: 'loud' })
    const { code, stderr } = await ended
    assert.equal(code, 78)
    assert.deepEqual(
      stderr
        .trim()
        .split('\n')
        .map((line) => line.split(/[:=]/)[0]),
      ['mgx api', 'mgx api', 'mgx api'],
    )
    for (const name of ['PORT=eighty: must be', 'MONGODB_URL: must be', 'LOG_LEVEL=loud: must be']) {
      assert.ok(stderr.includes(`mgx api: ${name}`), stderr)
    }
  })

  test('ends the worker with 78', async (t) => {
    const { code, stderr } = await (await startRoot(t, 'worker', { AGENT_CHANNEL: 'carrier-pigeon' })).ended
    assert.equal(code, 78)
    assert.match(stderr, /^mgx worker: AGENT_CHANNEL=carrier-pigeon: must be gateway or direct$/m)
  })

  test('ends the embedded mode with 78 when it would be open to everyone', async (t) => {
    const { code, stderr } = await (await startRoot(t, 'dev', { HOST: '0.0.0.0' })).ended
    assert.equal(code, 78)
    assert.match(stderr, /HOST=0\.0\.0\.0: .*INSECURE_NO_AUTH=1/)
  })
})

test('.env in the current directory is read, and what is in the environment wins', async (t) => {
  const portOf = async (env: Record<string, string>) => {
    const { stderr } = await (await startRoot(t, 'api', { ...NOBODY, ...env }, 'PORT=from-file\n')).ended
    return /PORT=(\S+):/.exec(stderr)?.[1]
  }
  assert.equal(await portOf({}), 'from-file')
  assert.equal(await portOf({ PORT: 'from-environment' }), 'from-environment')
})

describe('services that are down at the start', () => {
  test('the API listens, says which is missing, and ends in order', async (t) => {
    const port = await freePort()
    const api = await startRoot(t, 'api', { ...NOBODY, PORT: String(port) })
    const url = `http://127.0.0.1:${port}`
    await waitFor(async () => (await fetch(`${url}/healthz`)).ok, { what: 'the API to listen' })
    const ready = await fetch(`${url}/readyz`)
    assert.equal(ready.status, 503)
    assert.deepEqual(((await ready.json()) as { services: unknown }).services, { store: 'missing', queue: 'missing' })
    const waits = () => messages(api.said().stdout).filter((message) => message.startsWith('waiting for'))
    await waitFor(() => waits().length === 2, { what: 'a line for each' })
    assert.match(waits().sort().join('\n'), /^waiting for MongoDB: .+\nwaiting for Redis: .+$/)
    api.child.kill('SIGTERM')
    assert.equal((await api.ended).code, 0)
  })

  test('the worker waits for them and says so, each in one line', async (t) => {
    const worker = await startRoot(t, 'worker', {
      ...NOBODY,
      OPENAI_API_KEY: 'sk-test',
      DOCKER_HOST: 'unix:///nowhere/docker.sock',
      WORKSPACES_ROOT: await tempDir(t),
    })
    const waits = () => messages(worker.said().stdout).filter((message) => message.startsWith('waiting for'))
    await waitFor(() => waits().length >= 3, { what: 'a line for each' })
    for (const what of ['the store', 'the queue', 'the docker engine']) {
      assert.ok(
        waits().some((line) => line.startsWith(`waiting for ${what}: `)),
        waits().join('\n'),
      )
    }
    assert.equal(worker.child.exitCode, null)
    worker.child.kill('SIGTERM')
    assert.equal((await worker.ended).code, 0)
  })
})

describe('the embedded mode', () => {
  const embedded = async (t: Parameters<typeof tempDir>[0]) => ({
    WORKSPACES_ROOT: await tempDir(t),
    ENGINE: 'process',
    PORT: '0',
  })

  test('says what it does not isolate, and where it listens', async (t) => {
    const server = await startRoot(t, 'dev', await embedded(t))
    await waitFor(() => /the API listens: http:/.test(server.said().stdout), { what: 'the API to listen' })
    assert.match(server.said().stdout, /NO ISOLATION/)
    assert.match(server.said().stdout, /scripted demo model/)
    server.child.kill('SIGINT')
    assert.equal((await server.ended).code, 0)
  })

  test('is alone on its directory', async (t) => {
    const env = await embedded(t)
    const first = await startRoot(t, 'dev', env)
    await waitFor(() => /the API listens/.test(first.said().stdout), { what: 'the first one' })
    const { code, stderr } = await (await startRoot(t, 'dev', env)).ended
    assert.equal(code, 1)
    assert.match(stderr, /another mgx is using .*set WORKSPACES_ROOT/)
    first.child.kill('SIGKILL')
    await first.ended
    const third = await startRoot(t, 'dev', env)
    await waitFor(() => /the API listens/.test(third.said().stdout), { what: 'the one after a crash' })
    third.child.kill('SIGTERM')
    assert.equal((await third.ended).code, 0)
  })

  test('a port in use, a root that cannot be made, and production are said in one line', async (t) => {
    const env = await embedded(t)
    const first = await startRoot(t, 'dev', env)
    const listening = () => /the API listens: http:\/\/127\.0\.0\.1:(\d+)/.exec(first.said().stdout)?.[1]
    const port = await waitFor(listening, { what: 'the first one' })
    const other = { ...env, WORKSPACES_ROOT: await tempDir(t) }
    const onPort = await (await startRoot(t, 'dev', { ...other, PORT: port })).ended
    assert.equal(onPort.code, 1)
    assert.match(onPort.stderr, /^mgx dev: port \d+ of 127\.0\.0\.1 is in use\. .*set PORT/)
    const file = join(await tempDir(t), 'file')
    await writeFile(file, '')
    const onFile = await (await startRoot(t, 'dev', { ...env, WORKSPACES_ROOT: file })).ended
    assert.equal(onFile.code, 1)
    assert.match(onFile.stderr, /^mgx dev: cannot make .*set WORKSPACES_ROOT/)
    const inProduction = await (await startRoot(t, 'dev', { ...other, NODE_ENV: 'production' })).ended
    assert.equal(inProduction.code, 1)
    assert.match(inProduction.stderr, /^mgx dev: the process engine isolates nothing/)
  })
})
