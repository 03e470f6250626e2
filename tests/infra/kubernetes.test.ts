import assert from 'node:assert/strict'
import { cp, glob, readFile, stat } from 'node:fs/promises'
import { BlockList, isIPv6 } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { parseEnv } from 'node:util'
import { apiConfig, workerConfig } from '#main/config.ts'
import { AGENTS } from '#main/config-agent-variables.ts'
import { GENERAL } from '#main/config-variables.ts'
import { KUBERNETES_RULES } from '#scheduler/engines/kubernetes-rules.ts'
import { tempDir } from '../helpers.ts'
import { ROOT } from '../runner/imports.ts'
import { type Manifest, parseManifests } from '../services/manifests.ts'
import { runCommand } from './image.ts'

const INFRA = join(ROOT, 'infra/kubernetes')
const read = (file: string) => readFile(join(INFRA, file), 'utf8')
const base = async (file: string): Promise<Manifest[]> => parseManifests(await read(`base/${file}`))

const oneOf = (all: readonly Manifest[], kind: string, name?: string): Manifest => {
  const found = all.filter((one) => one.kind === kind && (name === undefined || one.metadata.name === name))
  assert.equal(found.length, 1, `one ${kind} ${name ?? ''}`)
  return found[0] as Manifest
}

const files = async (): Promise<string[]> => {
  const all = await Array.fromAsync(glob('{base,overlays}/**/*.yaml', { cwd: INFRA }))
  assert.ok(all.length > 12)
  return all
}

const manifests = async (): Promise<Manifest[]> => {
  const parsed = (await files()).map(async (file) => parseManifests(await read(file)))
  return (await Promise.all(parsed)).flat().filter(({ kind }) => kind !== 'Kustomization')
}

type Container = {
  readonly name: string
  readonly image: string
  readonly env?: readonly { readonly name: string; readonly value?: string }[]
  readonly securityContext?: object
  readonly resources?: { readonly limits?: { readonly memory?: string } }
}

const containersOf = ({ spec }: Manifest): Container[] => [
  ...(spec.template.spec.containers ?? []),
  ...(spec.template.spec.initContainers ?? []),
]

const deployments = async () => (await manifests()).filter(({ kind }) => kind === 'Deployment')

/** What the containers of the services find in their environment; secrets are somebody's. */
const environment = async (service: 'api' | 'worker'): Promise<Record<string, string>> => {
  const [container] = containersOf(oneOf(await base(`${service}.yaml`), 'Deployment'))
  const own = Object.fromEntries((container?.env ?? []).map(({ name, value = '' }) => [name, value]))
  const secret = {
    MONGODB_URL: 'mongodb://a',
    REDIS_URL: 'redis://b',
    ...(service === 'worker' && { OPENAI_API_KEY: 'k' }),
  }
  return { ...(parseEnv(await read('base/settings.env')) as Record<string, string>), ...secret, ...own }
}

test('the worker may do exactly what the engine says that it does', async () => {
  const all = await base('rights.yaml')
  const { metadata, rules } = oneOf(all, 'Role')
  const granted = rules.map((rule: { apiGroups: string[]; resources: string[]; verbs: string[] }) => {
    assert.deepEqual(rule.apiGroups, [''])
    assert.equal(rule.resources.length, 1)
    return [rule.resources[0], rule.verbs]
  })
  assert.deepEqual(Object.fromEntries(granted), KUBERNETES_RULES)
  assert.equal(metadata.namespace, 'mgx-agents', 'and only among the agents')
  const binding = oneOf(all, 'RoleBinding')
  assert.equal(binding.metadata.namespace, 'mgx-agents')
  assert.deepEqual(binding.subjects, [{ kind: 'ServiceAccount', name: 'mgx-worker', namespace: 'mgx' }])
  const rights = (await manifests()).filter(({ kind }) => /Role/.test(kind))
  assert.deepEqual(
    rights.map(({ kind }) => kind),
    ['Role', 'RoleBinding'],
  )
})

test('api and worker understand all that they are given, and nothing is given that nobody reads', async () => {
  const known = new Set([...Object.values(GENERAL), ...Object.values(AGENTS)].flatMap((table) => Object.keys(table)))
  // Node's own.
  known.add('NODE_OPTIONS')
  const [api, worker] = [await environment('api'), await environment('worker')]
  for (const name of Object.keys({ ...api, ...worker })) assert.ok(known.has(name), `${name} is no variable of mgx`)
  assert.equal(apiConfig(api).listen.port, 8000)
  const settings = workerConfig(worker)
  assert.equal(settings.engine.kind, 'kubernetes')
  assert.deepEqual(settings.worker.channel, { kind: 'gateway', tcpUrl: 'http://mgx-gateway.mgx.svc:8100' })
  const more = parseEnv(await read('overlays/production/settings.env'))
  for (const name of Object.keys(more)) assert.ok(known.has(name), `${name} is no variable of mgx`)
})

test('the quota has room for as many agents as may run at once, and the limits for one of them', async () => {
  const { worker, engine } = workerConfig(await environment('worker'))
  const all = await base('agents.yaml')
  const { hard } = oneOf(all, 'ResourceQuota').spec
  const gib = (text: string) => Number(/^(\d+)Gi$/.exec(text)?.[1]) * 1024 ** 3
  const count = worker.maxRunning ?? Number.POSITIVE_INFINITY
  const cpus = worker.limits.cpuQuota / 100_000
  assert.ok(Number(hard.pods) >= count * 1.2)
  assert.ok(gib(hard['limits.memory']) >= Number(hard.pods) * worker.limits.memoryBytes)
  assert.equal(hard['requests.memory'], hard['limits.memory'])
  assert.ok(Number(hard['limits.cpu']) >= Number(hard.pods) * cpus)
  assert.ok(Number(hard['requests.cpu']) >= Number(hard.pods) * cpus * engine.kubernetes.cpuShare)
  const [{ max }] = oneOf(all, 'LimitRange').spec.limits
  assert.ok(gib(max.memory) >= worker.limits.memoryBytes)
  assert.ok(Number(max.cpu) >= cpus)
})

test('workers are scaled by figures that there are', async () => {
  const { spec } = oneOf(await base('worker.yaml'), 'HorizontalPodAutoscaler')
  const docs = await readFile(join(ROOT, 'docs/operations.md'), 'utf8')
  const names = spec.metrics.map(({ pods }: { pods: { metric: { name: string } } }) => pods.metric.name)
  assert.deepEqual(names, ['mgx_oldest_waiting_run_seconds', 'mgx_worker_runs'])
  for (const name of names) assert.ok(docs.includes(`| \`${name}\` |`), name)
})

test('images are named in one place of each overlay, and all of them there', async () => {
  const used = (await deployments()).flatMap(containersOf).map(({ image }) => image)
  assert.deepEqual([...new Set(used)].sort(), ['mgx', 'mongo', 'redis'])
  const imagesOf = async (overlay: string) => {
    const { images } = oneOf(parseManifests(await read(`overlays/${overlay}/kustomization.yaml`)), 'Kustomization')
    return images.map(({ name }: { name: string }) => name)
  }
  assert.deepEqual(await imagesOf('try'), ['mgx', 'mongo', 'redis'])
  assert.deepEqual(await imagesOf('production'), ['mgx'])
})

test('every container is hardened and has a limit of memory; only one is root, for a moment', async () => {
  for (const deployment of await deployments()) {
    const { securityContext: pod } = deployment.spec.template.spec
    if (pod) assert.deepEqual([pod.runAsNonRoot, pod.seccompProfile], [true, { type: 'RuntimeDefault' }])
    for (const { name, securityContext, resources } of containersOf(deployment)) {
      const hardened = {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      }
      const owner = { ...hardened, runAsNonRoot: false, runAsUser: 0, capabilities: { drop: ['ALL'], add: ['CHOWN'] } }
      assert.deepEqual(securityContext, name === 'own-workspaces' ? owner : hardened, name)
      assert.ok(resources?.limits?.memory, name)
    }
  }
})

test('agents reach public addresses only', async () => {
  const { spec } = oneOf(await base('network-agents.yaml'), 'NetworkPolicy', 'agents-outside')
  const [open, closed] = [new BlockList(), new BlockList()]
  const add = (list: BlockList, cidr: string) => {
    const [address = '', bits] = cidr.split('/')
    list.addSubnet(address, Number(bits), isIPv6(address) ? 'ipv6' : 'ipv4')
  }
  for (const { ipBlock } of spec.egress[0].to) {
    add(open, ipBlock.cidr)
    for (const cidr of ipBlock.except) add(closed, cidr)
  }
  const reached = (address: string) => {
    const family = isIPv6(address) ? 'ipv6' : 'ipv4'
    return open.check(address, family) && !closed.check(address, family)
  }
  for (const address of ['93.184.215.14', '2606:2800:21f::1']) assert.equal(reached(address), true, address)
  for (const address of [
    ...['10.96.0.1', '172.17.0.1', '192.168.1.1', '100.100.100.200', '127.0.0.1', '169.254.169.254', '0.0.0.0'],
    ...['::1', 'fd00:ec2::254', 'fe80::1', '::ffff:10.0.0.1', '2002:a00:1::1'],
  ])
    assert.equal(reached(address), false, address)
})

const secretsIn = async (t: TestContext, env: NodeJS.ProcessEnv) => {
  const dir = await tempDir(t)
  await cp(join(ROOT, 'scripts'), join(dir, 'scripts'), { recursive: true })
  const secrets = join(dir, 'infra/kubernetes/overlays/try/secrets')
  const write = () =>
    runCommand('sh', ['scripts/kubernetes-secrets.sh'], { cwd: dir, env: { PATH: process.env.PATH, ...env } })
  return { secrets, write, env: async (name: string) => parseEnv(await readFile(join(secrets, name), 'utf8')) }
}

test('the script for secrets makes what `try` reads: for its owner only, and the same passwords again', async (t) => {
  const { write, secrets, env } = await secretsIn(t, { OPENAI_API_KEY: 'sk-mine' })
  assert.equal((await write()).code, 0)
  const { secretGenerator } = oneOf(parseManifests(await read('overlays/try/kustomization.yaml')), 'Kustomization')
  const names = secretGenerator.flatMap(({ envs }: { envs: string[] }) =>
    envs.map((file) => file.replace('secrets/', '')),
  )
  assert.deepEqual(names.sort(), ['databases.env', 'model.env', 'services.env'])
  for (const name of names) assert.equal((await stat(join(secrets, name))).mode & 0o777, 0o600, name)
  const passwords = await env('databases.env')
  for (const value of Object.values(passwords)) assert.match(value ?? '', /^[0-9a-f]{48}$/)
  const { MONGODB_URL, REDIS_URL } = await env('services.env')
  assert.ok(MONGODB_URL?.includes(`mgx:${passwords.MONGO_SERVICES_PASSWORD}@mongodb:27017`))
  assert.ok(REDIS_URL?.includes(`${passwords.REDIS_PASSWORD}@redis:6379`))
  assert.deepEqual({ ...(await env('model.env')) }, { OPENAI_API_KEY: 'sk-mine' })
  assert.equal((await write()).code, 0)
  assert.deepEqual(await env('databases.env'), passwords)
})

test('without a model the script for secrets says what to set, and writes nothing', async (t) => {
  const { write, secrets } = await secretsIn(t, {})
  const { code, stderr } = await write()
  assert.equal(code, 1)
  assert.match(stderr, /no model API: set OPENAI_API_KEY/)
  await assert.rejects(stat(secrets))
})

test('the repository holds no secret of a cluster', async () => {
  assert.ok(!(await manifests()).some(({ kind }) => kind === 'Secret'))
  const { code } = await runCommand('git', ['check-ignore', '-q', 'infra/kubernetes/overlays/try/secrets/model.env'], {
    cwd: ROOT,
  })
  assert.equal(code, 0)
})
