import assert from 'node:assert/strict'
import { lstat, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import type { Attestation } from '#contracts/attestation.ts'
import type { SessionEvent, SessionEventOf } from '#contracts/events.ts'
import { waitFor } from '../helpers.ts'
import { CANNOT_MOUNT, loopsIn, mountableDir, mountsIn } from '../scheduler/loop-mounts.ts'
import { openDocker } from '../services/docker.ts'
import { testImage } from '../services/image.ts'
import { follow, getJson, post, type TestServer } from './client.ts'
import { openServer } from './embedded-server.ts'
import { LIMIT } from './main-job.ts'
import { openPromptModel } from './prompt-model.ts'

const MIB = 1024 * 1024

const start = async (t: TestContext, env: Readonly<Record<string, string>> = {}): Promise<TestServer> => {
  const model = await openPromptModel()
  t.after(() => model[Symbol.asyncDispose]())
  return openServer(t, {
    ENGINE: 'docker',
    AGENT_CONTAINER_IMAGE: await testImage(),
    OPENAI_BASE_URL: model.baseUrl,
    AGENT_WORKSPACE_QUOTA: '32m',
    AGENT_WORKSPACE_QUOTA_KIND: 'hard',
    WORKSPACES_ROOT: await mountableDir(t),
    ...env,
  })
}

const quotaOf = ({ url }: TestServer, session: string, runId: string) =>
  waitFor(
    async () =>
      (await getJson<Partial<Attestation>>(`${url}/api/agent/sessions/${session}/attestation?run_id=${runId}`)).quota,
    { what: 'the attestation' },
  )

/** A run to its end: its last event, what its commands printed, which quota held it. */
const work = async (server: TestServer, session: string, prompt: string) => {
  const { run_id, events_url } = await post(server.url, session, prompt)
  const events: SessionEvent[] = await Array.fromAsync(follow(`${server.url}${events_url}`))
  const finish = events.at(-1) as SessionEventOf<'finish'>
  const printed = events.flatMap((event) => (event.event_type === 'tool_end' ? [event.data.output] : []))
  return { ...finish.data, printed: printed.join('\n'), runId: run_id }
}

/** Long enough to be attested. */
const UNTIL_GO = 'bash until [ -e go ]; do sleep 0.1; done'

const nothingMounted = ({ root }: TestServer) =>
  waitFor(async () => (await mountsIn(root)).length + (await loopsIn(root)).length === 0, {
    what: 'no mount and no loop device to be left',
  })

const docker = await openDocker()
const skip = 'skip' in docker ? docker.skip : CANNOT_MOUNT

describe('a hard quota', { skip }, () => {
  test('is in the attestation, and the files are there in the next run', LIMIT, async (t) => {
    const server = await start(t)
    const first = await work(server, 'one', 'bash echo kept >file; stat -c %U:%a .; ls -A')
    assert.equal(first.cause, 'completed')
    assert.match(first.printed, /agent:750\n/, "the workspace is the agent's alone")
    assert.doesNotMatch(first.printed, /lost\+found/)
    await nothingMounted(server)
    const { run_id } = await post(server.url, 'one', `${UNTIL_GO}\nbash cat file`)
    const quota = await quotaOf(server, 'one', run_id)
    assert.equal(quota.kind, 'hard')
    assert.ok(Number(quota.bytes) <= 32 * MIB && Number(quota.bytes) > 24 * MIB, String(quota.bytes))
    const home = join(server.root, 'one-files')
    assert.equal(await readFile(join(home, 'file'), 'utf8'), 'kept\n', 'seen from outside while the run is there')
    await writeFile(join(home, 'go'), '')
    await nothingMounted(server)
    assert.equal((await lstat(home)).isSymbolicLink(), true)
  })

  test(
    'a full one ends the run as disk_full, until the quota is raised; the disk outside lost no more',
    LIMIT,
    async (t) => {
      const server = await start(t)
      const full = await work(server, 'one', 'bash head -c 100M /dev/zero >big; sleep 100')
      assert.equal(full.cause, 'disk_full')
      assert.match(
        full.error ?? '',
        /^The workspace "one-files" is full: its disk of \d+ MB, .* Raise AGENT_WORKSPACE_QUOTA/,
      )
      const image = await stat(join(server.root, '.mgx/disks/one-files.img'))
      assert.ok(image.size === 32 * MIB && image.blocks * 512 <= 33 * MIB)
      assert.equal((await work(server, 'one', 'bash sleep 100')).cause, 'disk_full')
      await nothingMounted(server)
      const larger = await server.restart({ AGENT_WORKSPACE_QUOTA: '64m' })
      const { run_id } = await post(larger.url, 'one', UNTIL_GO)
      const quota = await quotaOf(larger, 'one', run_id)
      assert.ok(quota.kind === 'hard' && Number(quota.bytes) > 48 * MIB, JSON.stringify(quota))
      await writeFile(join(server.root, 'one-files/go'), '')
      await nothingMounted(server)
      const smaller = await larger.restart({ AGENT_WORKSPACE_QUOTA: '24m' })
      const over = await work(smaller, 'one', 'bash sleep 100')
      assert.match(
        over.error ?? '',
        /^The workspace "one-files" holds \d+ MB, its quota is 24 MB/,
        'it is never shrunk',
      )
      await nothingMounted(server)
    },
  )

  test('a workspace that has files in a plain directory stays there, watched', LIMIT, async (t) => {
    const server = await start(t)
    const home = join(server.root, 'one-files')
    await mkdir(home, { mode: 0o777 })
    await writeFile(join(home, 'file'), '')
    const { run_id } = await post(server.url, 'one', UNTIL_GO)
    assert.deepEqual(await quotaOf(server, 'one', run_id), { kind: 'soft', bytes: 32 * MIB })
    await writeFile(join(home, 'go'), '')
    assert.deepEqual(await mountsIn(server.root), [])
  })

  test('a worker that goes leaves the container its disk, and the next one tidies up', LIMIT, async (t) => {
    const server = await start(t)
    const { events_url } = await post(server.url, 'one', `${UNTIL_GO}\nbash echo more >more`)
    const home = join(server.root, 'one-files')
    await waitFor(() => stat(home).catch(() => false), { what: 'the disk' })
    await writeFile(join(home, 'mark'), '')
    const next = await server.restart()
    await writeFile(join(home, 'go'), '')
    const events = await Array.fromAsync(follow(`${next.url}${events_url}`))
    assert.equal((events.at(-1) as SessionEventOf<'finish'>).data.cause, 'completed')
    await nothingMounted(server)
    assert.match((await work(next, 'one', 'bash ls')).printed, /go\nmark\nmore\n/)
    await nothingMounted(server)
  })
})
