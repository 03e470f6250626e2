import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RunnerJob } from '#contracts/job.ts'
import type { Run } from '#contracts/run.ts'
import { newToken, tokenHash } from '#scheduler/run-token.ts'
import { gatewaySocket, jobLine, sandboxSpec } from '#scheduler/sandbox-spec.ts'
import { gatewayDir } from '#scheduler/slot-paths.ts'
import { DEFAULT_TIMINGS, type WorkerConfig } from '#scheduler/worker-context.ts'

const config: WorkerConfig = {
  installation: 'here',
  concurrency: 1,
  image: 'mgx:latest',
  user: '1000:1000',
  network: 'none',
  egress: [{ kind: 'any' }],
  extraHosts: ['model:host-gateway'],
  limits: { memoryBytes: 2 ** 31, cpuQuota: 100_000, pids: 512, tmpBytes: 2 ** 30 },
  disk: { reserveBytes: 0 },
  workspacesRoot: '/srv/workspaces',
  hostWorkspacesRoot: '/home/op/workspaces',
  taskTimeoutSeconds: 1800,
  maxSteps: 50,
  model: 'default-model',
  channel: { kind: 'gateway' },
  timings: DEFAULT_TIMINGS,
  reconcileDryRun: false,
  warmPoolSize: 0,
}

const run: Run = {
  run_id: '01890000-0000-7000-8000-000000000000',
  tenant_id: 'default',
  session_id: 'demo-1',
  workspace_id: 'ws-1',
  framework: 'vite',
  prompt: 'Ein "Blatt"\n\u2028 mit 🦕',
  options: {},
  v: 1,
  state: 'starting',
  attempt: 1,
  lock: true,
  created_at: new Date(0),
  queue_deadline_at: new Date(1),
  turn_at: new Date(1),
  deadline_at: new Date('2030-01-01T00:00:00Z'),
  container_gone: false,
  restarts: 0,
}

const SANDBOX = { containerId: 'c1', token: 'secret', sharesPaths: false }
const direct = {
  kind: 'direct',
  mongodbUrl: 'mongodb://agent:pw@db/',
  mongodbDb: 'mgx',
  openaiApiKey: 'sk-key',
} as const

test('the spec: names, labels, both views of the workspace, and nothing secret', () => {
  const spec = sandboxSpec(run, config)
  assert.equal(spec.name, 'mgx-agent-demo-1')
  assert.deepEqual(spec.workspace, { path: '/srv/workspaces/ws-1', hostPath: '/home/op/workspaces/ws-1' })
  assert.deepEqual(spec.env, { SESSION_ID: 'demo-1', RUN_ID: run.run_id, WORKSPACE_ID: 'ws-1', FRAMEWORK: 'vite' })
  assert.deepEqual(spec.labels, {
    'dev.mgx.managed': 'true',
    'dev.mgx.installation': 'here',
    'dev.mgx.session': 'demo-1',
    'dev.mgx.run': run.run_id,
    'dev.mgx.workspace': 'ws-1',
    'dev.mgx.role': 'agent',
    'dev.mgx.expires-at': '2030-01-01T00:01:10.000Z',
  })
  assert.deepEqual(
    [spec.image, spec.user, spec.network, spec.extraHosts, spec.limits],
    [config.image, config.user, config.network, config.extraHosts, config.limits],
  )
})

test('the gateway directory: in both views, only where a socket is used, its path short enough for any root of 80', () => {
  const { gatewayDir: dir } = sandboxSpec(run, config)
  assert.equal(dir?.path, gatewayDir('/srv/workspaces', run.run_id))
  assert.equal(dir?.hostPath, gatewayDir('/home/op/workspaces', run.run_id))
  assert.equal(
    sandboxSpec(run, { ...config, channel: { kind: 'gateway', tcpUrl: 'http://h:1' } }).gatewayDir,
    undefined,
  )
  assert.equal(sandboxSpec(run, { ...config, channel: direct }).gatewayDir, undefined)
  assert.deepEqual(sandboxSpec(run, { ...config, channel: { ...direct, proxied: true } }).gatewayDir, dir && { ...dir })
  const long = gatewaySocket({ ...config, workspacesRoot: `/${'r'.repeat(79)}` }, run.run_id)
  assert(long !== undefined && Buffer.byteLength(long) <= 107, `${long?.length} bytes`)
})

test('the job line: one line, valid by the contract, whatever the prompt holds', () => {
  const line = jobLine(run, config, SANDBOX)
  assert.equal(line.indexOf('\n'), line.length - 1)
  const job = RunnerJob.parse(JSON.parse(line))
  assert.equal(job.prompt, run.prompt)
  assert.deepEqual(job.channel, { kind: 'gateway', url: 'unix:/run/mgx/gw.sock', token: 'secret' })
  assert.deepEqual([job.model, job.max_steps, job.max_cost_usd], ['default-model', 50, undefined])
  assert.deepEqual([job.deadline, job.container_id], ['2030-01-01T00:00:00.000Z', 'c1'])
})

test("the job line: the run's own options win", () => {
  const options = { model: 'other', max_steps: 3, max_cost_usd: 0.5 }
  const prices = { '*': { input: 1, output: 2 }, 'default-model': { input: 3, output: 4 } }
  const job = RunnerJob.parse(JSON.parse(jobLine({ ...run, options }, { ...config, prices }, SANDBOX)))
  assert.deepEqual(job.price, prices['*'])
  assert.deepEqual([job.model, job.max_steps, job.max_cost_usd], ['other', 3, 0.5])
})

test('the job line: where the gateway is, per engine and channel', () => {
  const channel = (over: Partial<WorkerConfig>, sharesPaths = false) =>
    RunnerJob.parse(JSON.parse(jobLine(run, { ...config, ...over }, { ...SANDBOX, sharesPaths }))).channel
  assert.deepEqual(channel({}, true), {
    kind: 'gateway',
    url: `unix:${gatewaySocket(config, run.run_id)}`,
    token: 'secret',
  })
  assert.deepEqual(channel({ channel: { kind: 'gateway', tcpUrl: 'http://host:8010' } }), {
    kind: 'gateway',
    url: 'http://host:8010',
    token: 'secret',
  })
  assert.deepEqual(channel({ channel: { ...direct, openaiBaseUrl: 'http://m/v1' } }), {
    kind: 'direct',
    mongodb_url: direct.mongodbUrl,
    mongodb_db: 'mgx',
    openai_api_key: 'sk-key',
    openai_base_url: 'http://m/v1',
  })
  const { egress } = channel({ channel: { ...direct, proxied: true } }) as { egress?: object }
  assert.deepEqual(egress, { url: 'unix:/run/mgx/gw.sock', token: 'secret' })
})

test('a gateway channel carries no key and no database address', () => {
  const line = jobLine(run, config, SANDBOX) + JSON.stringify(sandboxSpec(run, config))
  assert.doesNotMatch(line, /sk-key|mongodb:/)
})

test('tokens: 32 random bytes each, and only a hash that names them', () => {
  const [one, two] = [newToken(), newToken()]
  assert.notEqual(one, two)
  assert.equal(Buffer.from(one, 'base64url').length, 32)
  assert.match(tokenHash(one), /^[0-9a-f]{64}$/)
  assert.notEqual(tokenHash(one), tokenHash(two))
})
