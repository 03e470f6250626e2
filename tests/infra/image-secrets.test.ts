import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { RunnerJob } from '#contracts/job.ts'
import { waitFor } from '../helpers.ts'
import { openDocker } from '../services/docker.ts'
import { testImage } from '../services/image.ts'
import { containerName, docker, HARDENED } from './image.ts'

const found = await openDocker()
const skip = 'skip' in found ? found.skip : false

const IN_ENVIRONMENT = 'secret-of-the-environment'
const IN_JOB = 'secret-of-the-job-line'

/** Nobody listens at that address: the runner goes on trying to store its first event, and holds its secrets meanwhile. */
const job = RunnerJob.parse({
  v: 1,
  tenant_id: 'default',
  session_id: 'probe',
  run_id: 'probe',
  workspace_id: 'probe',
  framework: 'static',
  prompt: 'wait',
  model: 'none',
  max_steps: 1,
  deadline: new Date(Date.now() + 600_000).toISOString(),
  channel: { kind: 'gateway', url: 'http://127.0.0.1:9', token: IN_JOB },
})

type Findings = Record<string, Record<string, string>>

/** As a command of the model would: same user, same limits. Its own environment has no secret in it. */
const probe = async (name: string): Promise<Findings> => {
  const script = await readFile(join(import.meta.dirname, 'secret-probe.py'), 'utf8')
  const { stdout, stderr } = await docker(
    ['exec', '-i', '--env', 'OPENAI_API_KEY=', name, 'python3', '-', IN_ENVIRONMENT, IN_JOB],
    { input: script },
  )
  assert.ok(stdout.startsWith('{'), stderr)
  return JSON.parse(stdout)
}

/** Seen from inside: `docker top` needs a ps on this machine, which a bare one does not have. */
const processes = async (name: string): Promise<string> =>
  (await docker(['exec', name, 'ps', '-eo', 'args'])).stdout.replaceAll(/^ps .*$/gm, '')

const startAgent = async (name: string): Promise<void> => {
  const flags = ['--name', name, '--env', `OPENAI_API_KEY=${IN_ENVIRONMENT}`, '--network', 'none', ...HARDENED]
  const child = spawn('docker', ['run', '-i', ...flags, await testImage()], { stdio: ['pipe', 'ignore', 'ignore'] })
  child.stdin.end(`${JSON.stringify(job)}\n`)
  await once(child, 'spawn')
  await waitFor(async () => (await processes(name)).includes('entry.cjs'), { what: 'the runner to start' })
}

describe('secrets of the runner, tried from its own container by its own user', { skip }, () => {
  test('neither its environment nor its job line can be had', async (t) => {
    const name = containerName(t)
    await startAgent(name)
    const findings = await probe(name)
    const { 1: first, ...others } = findings
    const denied = { environ: 'denied', memory: 'denied', descriptors: 'denied', ptrace: 'denied' }
    const tini = '/opt/runner/tini -- /opt/runner/node --disable-sigusr1 /opt/runner/entry.cjs agent'
    assert.deepEqual(first, { command: tini, ...denied })
    const runner = { command: tini.slice('/opt/runner/tini -- '.length), ...denied, debugger: 'denied' }
    assert.deepEqual(Object.values(others), [runner])
    assert.match(await processes(name), /^\/opt\/runner\/node .*entry\.cjs/m, 'the runner survived the attempts')
  })

  test('the same attempts do succeed on a plain node behind a shell: they can tell', async (t) => {
    const name = containerName(t)
    const flags = ['--detach', '--name', name, '--env', `OPENAI_API_KEY=${IN_ENVIRONMENT}`, '--network', 'none']
    const wrapper = ['--entrypoint', 'bash', await testImage(), '-c', 'node -e "setTimeout(() => {}, 600_000)"; exit']
    await docker(['run', ...flags, ...HARDENED, ...wrapper])
    await waitFor(async () => /^node /m.test(await processes(name)), { what: 'the plain node to start' })
    const [shell, node] = Object.values(await probe(name))
    assert.equal(shell?.environ, 'secret')
    assert.equal(node?.environ, 'secret')
    assert.equal(node?.debugger, 'open')
  })
})
