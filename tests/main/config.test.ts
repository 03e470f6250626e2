import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'
import { apiConfig, devConfig, workerConfig } from '#main/config.ts'
import { tempDir } from '../helpers.ts'
import { onlyLine, ROOT, SERVICES, worker } from './config-helpers.ts'

describe('defaults', () => {
  test('the API listens on loopback, port 8000', () => {
    const { listen, api, services, logLevel } = apiConfig(SERVICES)
    assert.deepEqual(listen, { host: '127.0.0.1', port: 8000 })
    assert.equal(api.queueTimeoutSeconds, 3600)
    assert.deepEqual(api.corsOrigins, [])
    assert.deepEqual(services, { mongodbUrl: SERVICES.MONGODB_URL, mongodbDb: 'mgx', redisUrl: SERVICES.REDIS_URL })
    assert.equal(logLevel, 'info')
  })

  test('a worker uses Docker, the gateway channel and the limits of the documents', () => {
    const { worker: config, engine, gateway } = worker({})
    assert.equal(engine.kind, 'docker')
    assert.deepEqual(config.channel, { kind: 'gateway' })
    assert.deepEqual(gateway?.model, { baseUrl: 'https://api.openai.com/v1', apiKey: 'sk-1' })
    assert.equal(gateway?.tcp, undefined)
    assert.deepEqual(config.limits, { memoryBytes: 2 * 1024 ** 3, cpuQuota: 100_000, pids: 512, tmpBytes: 1024 ** 3 })
    assert.equal(config.taskTimeoutSeconds, 1800)
    assert.equal(config.image, 'mgx:latest')
    assert.equal(config.network, 'none')
    assert.deepEqual(config.egress, [{ kind: 'any' }])
    assert.equal(config.workspacesRoot, resolve('workspaces'))
    assert.equal(config.hostWorkspacesRoot, config.workspacesRoot)
  })

  test('a canary image has a weight from 0 to 100, and none without an image', () => {
    const image = 'mgx:next'
    assert.equal(worker({ AGENT_CANARY_IMAGE: image }).worker.canary, undefined)
    const { canary } = worker({ AGENT_CANARY_IMAGE: image, AGENT_CANARY_WEIGHT: '5' }).worker
    assert.deepEqual(canary, { image, weight: 5 })
    assert.match(
      onlyLine(() => worker({ AGENT_CANARY_WEIGHT: '5' })),
      /^AGENT_CANARY_WEIGHT=5: needs AGENT_CANARY_IMAGE/,
    )
  })

  test('the agent is uid 1000 when the worker is root, else the worker itself', () => {
    assert.equal(worker({}).worker.user, '1000:1000')
    assert.equal(worker({}, { uid: 501, gid: 20 }).worker.user, '501:20')
    assert.equal(worker({ AGENT_USER: '1234:5' }, { uid: 501, gid: 20 }).worker.user, '1234:5')
  })

  test('limits: none at work but of memory, ten thousand that wait', () => {
    const { worker: config } = worker({}, { ...ROOT, memory: 16 * 1024 ** 3 })
    assert.deepEqual([config.maxRunning, config.maxRunningPerTenant], [undefined, undefined])
    assert.equal(config.memoryBytes, 32 * 1024 ** 3)
    const { api } = apiConfig(SERVICES)
    assert.deepEqual([api.maxQueuedRuns, api.maxQueuedRunsPerTenant], [10_000, 10_000])
    assert.equal(apiConfig({ ...SERVICES, MAX_QUEUED_RUNS: '7' }).api.maxQueuedRunsPerTenant, 7)
  })

  test('memory: what is said counts, a container that never fits is refused, and where nothing limits nothing is counted', () => {
    const machine = { ...ROOT, memory: 1024 ** 3 }
    const said = { WORKER_MEMORY: '8g', WORKER_MEMORY_OVERCOMMIT: '1.5' }
    assert.equal(worker(said, machine).worker.memoryBytes, 12 * 1024 ** 3)
    const small = { AGENT_CONTAINER_MEMORY_LIMIT: '3g' }
    assert.match(
      onlyLine(() => worker(small, machine)),
      /^AGENT_CONTAINER_MEMORY_LIMIT: one container may have 3221225472 bytes, .* no run would ever fit; lower/,
    )
    assert.equal(worker({ ...small, ENGINE: 'process' }, machine).worker.memoryBytes, undefined)
  })

  test('two directories of workspaces are two installations', () => {
    const one = worker({ WORKSPACES_ROOT: '/srv/one' }).worker.installation
    assert.notEqual(one, worker({ WORKSPACES_ROOT: '/srv/two' }).worker.installation)
    assert.equal(one, worker({ WORKSPACES_ROOT: '/data', HOST_WORKSPACES_ROOT: '/srv/one' }).worker.installation)
  })

  test('the embedded mode needs nothing at all, and leaves engine and model open', () => {
    const settings = devConfig({}, ROOT)
    assert.equal(settings.model, undefined)
    assert.equal(settings.engine.kind, undefined)
    assert.equal(settings.portGiven, false)
  })

  test('an empty value counts as not set', () => {
    assert.equal(apiConfig({ ...SERVICES, PORT: '', CORS_ORIGINS: ' ' }).listen.port, 8000)
  })
})

describe('values', () => {
  test('sizes are in the notation of Docker', () => {
    const sizes = { '512m': 512 * 1024 ** 2, '1G': 1024 ** 3, '65536k': 64 * 1024 ** 2, '104857600': 104_857_600 }
    for (const [written, bytes] of Object.entries(sizes)) {
      assert.equal(worker({ AGENT_CONTAINER_MEMORY_LIMIT: written }).worker.limits.memoryBytes, bytes, written)
    }
  })

  test('the direct channel hands the agents their own MongoDB user', () => {
    const { worker: config, gateway } = worker({ AGENT_CHANNEL: 'direct', AGENT_MONGODB_URL: 'mongodb://agent:p@db/' })
    assert.deepEqual(gateway.egress.model, { host: 'api.openai.com', port: 443 })
    assert.deepEqual(gateway.egress.ours[1], { host: 'db', port: 27_017 }, 'also by the name that agents have for it')
    assert.deepEqual(config.channel, {
      kind: 'direct',
      mongodbUrl: 'mongodb://agent:p@db/',
      mongodbDb: 'mgx',
      openaiApiKey: 'sk-1',
    })
  })

  test('the gateway over TCP: containers find the machine by name, unless another address is given', () => {
    const byName = worker({ GATEWAY_TCP_PORT: '9000' })
    assert.deepEqual(byName.worker.channel, { kind: 'gateway', tcpUrl: 'http://host.docker.internal:9000' })
    assert.deepEqual(byName.worker.extraHosts, ['host.docker.internal:host-gateway'])
    assert.deepEqual(byName.gateway?.tcp, { host: '0.0.0.0', port: 9000 })
    const byUrl = worker({ GATEWAY_TCP_PORT: '9000', GATEWAY_TCP_URL: 'http://worker:9000/' })
    assert.deepEqual(byUrl.worker.channel, { kind: 'gateway', tcpUrl: 'http://worker:9000' })
    assert.deepEqual(byUrl.worker.extraHosts, [])
  })

  test('a model server that asks for no key is enough', () => {
    const { gateway } = workerConfig({ ...SERVICES, OPENAI_BASE_URL: 'http://10.0.0.2:11434/v1/' }, ROOT)
    assert.deepEqual(gateway?.model, { baseUrl: 'http://10.0.0.2:11434/v1', apiKey: 'none' })
  })

  test('Langfuse is accepted, and said to be of no use yet', () => {
    assert.match(worker({ LANGFUSE_HOST: 'https://langfuse.example.com' }).notices.join(), /not used yet/)
    assert.deepEqual(worker({}).notices, [])
  })

  test('a secret can come from a file', async (t) => {
    const file = join(await tempDir(t), 'url')
    await writeFile(file, 'mongodb://mgx:secret@db/\n')
    const { services } = apiConfig({ REDIS_URL: SERVICES.REDIS_URL, MONGODB_URL_FILE: file })
    assert.equal(services.mongodbUrl, 'mongodb://mgx:secret@db/')
    assert.match(
      onlyLine(() => apiConfig({ ...SERVICES, MONGODB_URL_FILE: file })),
      /set twice/,
    )
    assert.match(
      onlyLine(() => apiConfig({ REDIS_URL: SERVICES.REDIS_URL, MONGODB_URL_FILE: `${file}x` })),
      /ENOENT/,
    )
  })
})

describe('rules between variables', () => {
  for (const host of ['0.0.0.0', '192.168.1.5', '::', 'mgx.example.com']) {
    test(`the API does not listen on ${host} without INSECURE_NO_AUTH=1`, () => {
      assert.match(
        onlyLine(() => apiConfig({ ...SERVICES, HOST: host })),
        /INSECURE_NO_AUTH=1/,
      )
      assert.equal(apiConfig({ ...SERVICES, HOST: host, INSECURE_NO_AUTH: '1' }).listen.host, host)
      assert.match(
        onlyLine(() => devConfig({ HOST: host }, ROOT)),
        /INSECURE_NO_AUTH=1/,
      )
    })
  }
  for (const host of ['localhost', '127.0.0.2', '::1']) {
    test(`${host} is loopback`, () => {
      assert.equal(apiConfig({ ...SERVICES, HOST: host }).listen.host, host)
    })
  }

  test('the direct channel without a MongoDB user for agents is refused: they would get ours', () => {
    assert.match(
      onlyLine(() => worker({ AGENT_CHANNEL: 'direct' })),
      /^AGENT_MONGODB_URL: is not set/,
    )
  })

  test('agents without a network need the gateway over a socket', () => {
    const direct = { AGENT_CHANNEL: 'direct', AGENT_MONGODB_URL: 'mongodb://a@db/' }
    assert.match(
      onlyLine(() => worker({ ...direct, AGENT_NETWORK: 'none' })),
      /AGENT_CHANNEL=gateway/,
    )
    assert.match(
      onlyLine(() => worker({ GATEWAY_TCP_PORT: '9000', AGENT_NETWORK: 'none' })),
      /GATEWAY_TCP_PORT/,
    )
    assert.equal(worker({ AGENT_NETWORK: 'none' }).worker.network, 'none')
  })

  test('agents have a network only where the channel needs one, or where it is asked for', () => {
    const direct = { AGENT_CHANNEL: 'direct', AGENT_MONGODB_URL: 'mongodb://a@db/' }
    assert.equal(worker({ ...direct, AGENT_DIRECT_NETWORK: 'agents' }).worker.network, 'agents')
    assert.equal(worker({ ...direct, AGENT_DIRECT_NETWORK: 'agents', AGENT_NETWORK: 'mine' }).worker.network, 'mine')
    assert.equal(worker({ AGENT_DIRECT_NETWORK: 'agents' }).worker.network, 'none')
    assert.equal(worker({ GATEWAY_TCP_PORT: '9000' }).worker.network, 'bridge')
    assert.equal(worker({ AGENT_NETWORK: 'mine' }).worker.network, 'mine')
  })

  test('an address of the gateway without its port is a mistake', () => {
    assert.match(
      onlyLine(() => worker({ GATEWAY_TCP_URL: 'http://x:1' })),
      /GATEWAY_TCP_PORT/,
    )
  })
})

describe('a hard quota', () => {
  const HARD = { AGENT_WORKSPACE_QUOTA: '5g', AGENT_WORKSPACE_QUOTA_KIND: 'hard' }

  test('is asked for; without, it is soft', () => {
    assert.deepEqual(worker(HARD).worker.disk, { quotaBytes: 5 * 1024 ** 3, reserveBytes: 512 * 1024 ** 2, hard: true })
    assert.equal(worker({ AGENT_WORKSPACE_QUOTA: '5g' }).worker.disk.hard, undefined)
  })

  test('needs a size, Docker, and root', () => {
    const refused = (env: Record<string, string>, uid = 0) =>
      onlyLine(() => worker({ ...HARD, ...env }, { uid, gid: uid }))
    const line = /^AGENT_WORKSPACE_QUOTA_KIND=hard: needs /
    for (const said of [refused({ AGENT_WORKSPACE_QUOTA: '' }), refused({ ENGINE: 'process' }), refused({}, 1000)]) {
      assert.match(said, line)
    }
    assert.match(refused({}, 1000), /root.* or take soft/)
    const kubernetes = { ENGINE: 'kubernetes', GATEWAY_TCP_PORT: '8100', GATEWAY_TCP_URL: 'http://10.0.0.7:8100' }
    assert.match(refused(kubernetes), /ENGINE=docker, not kubernetes/)
  })
})

describe('Kubernetes', () => {
  const KUBERNETES = { ENGINE: 'kubernetes', GATEWAY_TCP_PORT: '8100', GATEWAY_TCP_URL: 'http://10.0.0.7:8100' }

  test('a namespace of its own, a quarter of the CPU promised, five minutes to begin', () => {
    const { engine } = worker(KUBERNETES)
    assert.equal(engine.kind, 'kubernetes')
    assert.deepEqual(engine.kubernetes, { namespace: 'mgx-agents', cpuShare: 0.25, pendingMs: 300_000 })
  })

  test('a claim for the workspaces, a kubeconfig, a runtime class, a pull secret', () => {
    const more = { KUBECONFIG: '/etc/k', KUBERNETES_WORKSPACE_CLAIM: 'w', KUBERNETES_RUNTIME_CLASS: 'gvisor' }
    const { kubernetes } = worker({ ...KUBERNETES, ...more, KUBERNETES_PULL_SECRET: 'registry' }).engine
    const { claim, kubeconfig, runtimeClass, pullSecret } = kubernetes
    assert.deepEqual([claim, kubeconfig, runtimeClass, pullSecret], ['w', '/etc/k', 'gvisor', 'registry'])
  })

  test('pods reach the gateway over TCP, at an address that they know', () => {
    const refused = (env: Record<string, string>) => onlyLine(() => worker({ ENGINE: 'kubernetes', ...env }))
    assert.match(refused({}), /^ENGINE=kubernetes: .*GATEWAY_TCP_PORT/)
    assert.match(refused({ GATEWAY_TCP_PORT: '8100' }), /^ENGINE=kubernetes: .*GATEWAY_TCP_URL/)
  })
})
