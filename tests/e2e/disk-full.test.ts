import assert from 'node:assert/strict'
import { statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Attestation } from '#contracts/attestation.ts'
import type { SessionEventOf } from '#contracts/events.ts'
import { tempDir, waitFor } from '../helpers.ts'
import { runCommand } from '../infra/image.ts'
import { follow, getJson, post, type TestServer } from './client.ts'
import { openServer } from './embedded-server.ts'
import { LIMIT } from './main-job.ts'
import { openPromptModel } from './prompt-model.ts'

const MIB = 1024 * 1024

const start = async (t: TestContext, env: Readonly<Record<string, string>>): Promise<TestServer> => {
  const model = await openPromptModel()
  t.after(() => model[Symbol.asyncDispose]())
  return openServer(t, { ENGINE: 'process', OPENAI_BASE_URL: model.baseUrl, ...env })
}

const finishOf = async ({ url }: TestServer, session: string, prompt: string) => {
  const { events_url } = await post(url, session, prompt)
  const events = await Array.fromAsync(follow(`${url}${events_url}`))
  const finish = events.at(-1) as SessionEventOf<'finish'>
  assert.equal(finish.event_type, 'finish')
  return finish.data
}

/** Writes a megabyte twenty times a second. */
const writing = (megabytes: number): string =>
  `bash for i in $(seq ${megabytes}); do head -c ${MIB} /dev/zero >>big; sleep 0.05; done; sleep 100`

test(
  'a quota: what goes beyond it ends as disk_full, and does not begin again until there is room',
  LIMIT,
  async (t) => {
    const server = await start(t, { AGENT_WORKSPACE_QUOTA: '16m' })
    const over = await finishOf(server, 'greedy', writing(40))
    assert.equal(over.cause, 'disk_full')
    assert.match(
      over.error ?? '',
      /^The workspace "greedy-files" holds \d+ MB, its quota is 16 MB\. Delete files in it/,
    )
    const again = await finishOf(server, 'greedy', 'bash sleep 100')
    assert.equal(again.cause, 'disk_full')
    assert.equal((await finishOf(server, 'modest', 'bash echo fine')).cause, 'completed')
    await writeFile(join(server.root, 'greedy-files/big'), '')
    assert.equal((await finishOf(server, 'greedy', 'bash echo fine')).cause, 'completed')
  },
)

test('which quota is in force is in the attestation', LIMIT, async (t) => {
  const of = async (env: Readonly<Record<string, string>>) => {
    const server = await start(t, env)
    await post(server.url, 'one', 'bash until [ -e go ]; do sleep 0.1; done')
    const path = `${server.url}/api/agent/sessions/one/attestation`
    const read = async () => (await getJson<Partial<Attestation>>(path)).quota
    const quota = await waitFor(read, { what: 'the attestation' })
    await writeFile(join(server.root, 'one-files/go'), '')
    return quota
  }
  assert.deepEqual(await of({ AGENT_WORKSPACE_QUOTA: '5g' }), { kind: 'soft', bytes: 5 * 1024 * MIB })
  assert.deepEqual(await of({}), { kind: 'none' })
})

/** A file system of 512 MB in memory, most of which is used: 51 MB are kept free, and 40 MB are left until then. Undefined where this user cannot mount one. */
const smallDisk = async (t: TestContext): Promise<string | undefined> => {
  const stack = new AsyncDisposableStack()
  t.after(() => stack.disposeAsync())
  const dir = await tempDir({ after: (fn) => stack.defer(fn as () => Promise<void>) })
  const { code } = await runCommand('mount', ['-t', 'tmpfs', '-o', 'size=512m,mode=755', 'tmpfs', dir])
  if (code !== 0) return undefined
  stack.defer(async () => void (await runCommand('umount', ['-l', dir])))
  await writeFile(join(dir, 'used'), Buffer.alloc(421 * MIB))
  return dir
}

test(
  'one session does not take the disk from the others: it ends as disk_full while there is room left',
  LIMIT,
  async (t) => {
    const root = await smallDisk(t)
    if (root === undefined) return t.skip('only root can mount a small file system')
    const server = await start(t, { WORKSPACES_ROOT: root })
    const idle = finishOf(server, 'idle', 'bash until [ -e go ]; do sleep 0.1; done')
    const over = await finishOf(server, 'greedy', writing(100))
    assert.equal(over.cause, 'disk_full')
    assert.match(over.error ?? '', /^The disk of the workspaces has \d+ MB free, 52 MB are kept free/)
    const { bavail, bsize } = await statfs(root)
    assert.ok(bavail * bsize > 0, 'there is room left')
    const refused = await finishOf(server, 'new', 'bash echo fine')
    assert.equal(refused.cause, 'disk_full', 'nothing new is begun')
    await writeFile(join(root, 'idle-files/go'), '')
    assert.equal((await idle).cause, 'completed')
  },
)
