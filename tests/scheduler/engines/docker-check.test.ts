import assert from 'node:assert/strict'
import { mkdir, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import Docker from 'dockerode'
import { LABELS } from '#contracts/labels.ts'
import { createDockerEngine } from '#scheduler/engines/docker.ts'
import { checkWorkspaceMapping } from '#scheduler/engines/docker-check.ts'
import { rejectsWith } from '../../conformance/engine-bench.ts'
import { tempDir } from '../../helpers.ts'
import { ensureBoxImage } from '../../services/test-image.ts'
import { noDocker, silent, testDocker } from './docker-bench.ts'

const installation = `test-check-${process.pid}`

/** Something that answers as a Docker daemon would, of which this machine has none. */
const daemonThatSays = async (t: TestContext, answers: Readonly<Record<string, object>>) => {
  const socketPath = join(await tempDir(t), 'docker.sock')
  const server = createServer((request, response) => {
    const answer = answers[request.url ?? '']
    response.statusCode = answer ? 200 : 404
    response.end(JSON.stringify(answer ?? { message: `no such thing: ${request.url}` }))
  })
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  t.after(() => server.close())
  return { socketPath }
}

const VERSION = { Version: '28.0.0', ApiVersion: '1.48', Os: 'linux' }

test('docker check: an engine too old, or of another system, is refused', async (t) => {
  const old = await daemonThatSays(t, { '/version': { Version: '19.03.1', ApiVersion: '1.40', Os: 'linux' } })
  const { message } = await rejectsWith(
    'engine_unavailable',
    createDockerEngine({ docker: old, installation, log: silent }).check(),
  )
  assert.match(message, /19\.03\.1.*1\.40/)
  const windows = await daemonThatSays(t, { '/version': { ...VERSION, Os: 'windows' } })
  await rejectsWith('engine_unavailable', createDockerEngine({ docker: windows, installation, log: silent }).check())
})

test('docker check: limits that the daemon does not enforce are said aloud', async (t) => {
  const info = {
    MemoryLimit: true,
    SwapLimit: false,
    CpuCfsQuota: true,
    PidsLimit: false,
    SecurityOptions: ['name=apparmor'],
  }
  const docker = await daemonThatSays(t, { '/version': VERSION, '/info': info })
  const said: unknown[] = []
  const log = { warn: (...words: unknown[]) => said.push(words) }
  await createDockerEngine({ docker, installation, log }).check()
  assert.match(JSON.stringify(said), /swap limits.*process limits.*seccomp/)
})

describe('docker check, on a real daemon', { skip: noDocker }, () => {
  const containers = () =>
    testDocker().listContainers({ all: true, filters: { label: [`${LABELS.installation}=${installation}`] } })

  const mapping = async (root: string, hostRoot: string) => {
    const docker = testDocker()
    return checkWorkspaceMapping({ docker, installation, image: await ensureBoxImage(docker), root, hostRoot })
  }

  test('the image and the network must be there', async () => {
    const docker = testDocker()
    const image = await ensureBoxImage(docker)
    const check = (needs: { image?: string; network?: string }) =>
      createDockerEngine({ docker, installation, log: silent, ...needs }).check()
    await check({ image, network: 'bridge' })
    const missing = await rejectsWith('image_missing', check({ image: 'mgx-test-nothing:none' }))
    assert.match(missing.remediation, /make build-agent/)
    assert.match((await rejectsWith('start_failed', check({ network: 'mgx-test-none' }))).remediation, /AGENT_NETWORK/)
  })

  test('a network leads nowhere when it was made so', async (t) => {
    const docker = testDocker()
    const { leadsNowhere } = createDockerEngine({ docker, installation, log: silent })
    const closed = await docker.createNetwork({ Name: `${installation}-closed`, Internal: true })
    t.after(() => closed.remove())
    const asked = [`${installation}-closed`, 'bridge', 'host', 'container:x'].map((name) => leadsNowhere?.(name))
    assert.deepEqual(await Promise.all(asked), [true, false, false, false])
    await rejectsWith('start_failed', leadsNowhere?.('mgx-test-none') ?? Promise.resolve())
  })

  test('HOST_WORKSPACES_ROOT is WORKSPACES_ROOT: fine, and nothing is left', async (t) => {
    const root = await tempDir(t)
    await mapping(root, root)
    await symlink(root, `${root}-by-another-name`)
    t.after(() => rm(`${root}-by-another-name`))
    await mapping(root, `${root}-by-another-name`)
    assert.deepEqual(await readdir(join(root, '.mgx')), [])
    assert.deepEqual(await containers(), [])
  })

  test('what a worker that died over its check has left is swept; what another one is at is not', async (t) => {
    const root = await tempDir(t)
    const probes = join(root, '.mgx')
    await mkdir(probes)
    const [old, young] = [join(probes, 'probe-old'), join(probes, 'probe-young')]
    for (const file of [old, young]) await writeFile(file, '')
    const hourAgo = new Date(Date.now() - 3_600_000)
    await utimes(old, hourAgo, hourAgo)
    await testDocker().createContainer({
      Image: await ensureBoxImage(testDocker()),
      Labels: { [LABELS.installation]: installation, [LABELS.role]: 'probe' },
    })
    await mapping(root, root)
    assert.deepEqual(await readdir(probes), ['probe-young'])
    assert.deepEqual(await containers(), [])
  })

  test('HOST_WORKSPACES_ROOT is another directory, or none: said with both paths', async (t) => {
    const [root, other] = [await tempDir(t), await tempDir(t)]
    await mkdir(join(other, '.mgx'))
    for (const hostRoot of [other, join(other, 'nothing')]) {
      const error = await rejectsWith('workspace_unavailable', mapping(root, hostRoot))
      assert.ok(error.message.includes(root) && error.message.includes(hostRoot))
      assert.match(error.remediation, /HOST_WORKSPACES_ROOT/)
    }
    assert.deepEqual(await readdir(join(root, '.mgx')), [])
    assert.deepEqual(await containers(), [])
  })

  test('WORKSPACES_ROOT cannot be written, image missing, daemon down', async (t) => {
    const dir = await tempDir(t)
    const file = join(dir, 'file')
    await writeFile(file, '')
    assert.match((await rejectsWith('workspace_unavailable', mapping(file, file))).remediation, /WORKSPACES_ROOT/)
    const docker = testDocker()
    const bad = { docker, installation, image: 'mgx-test-nothing:none', root: dir, hostRoot: dir }
    await rejectsWith('image_missing', checkWorkspaceMapping(bad))
    const down = { ...bad, docker: new Docker({ socketPath: join(dir, 'no.sock') }) }
    await rejectsWith('engine_unavailable', checkWorkspaceMapping(down))
  })
})
