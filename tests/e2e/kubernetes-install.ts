import { randomUUID } from 'node:crypto'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { waitFor } from '../helpers.ts'
import { runCommand } from '../infra/image.ts'
import { ROOT } from '../runner/imports.ts'
import { openDocker } from '../services/docker.ts'
import { testImage } from '../services/image.ts'
import { findKubectl, type Kubectl } from '../services/kubectl.ts'
import { type Admin, openCluster } from '../services/kubernetes.ts'
import { loadImage } from '../services/kubernetes-image.ts'
import { findOrInstall } from '../services/machine.ts'
import { applyManifests, changed, type Manifest, type Names, renamed, renderManifests } from '../services/manifests.ts'
import { findMongod } from '../services/mongod-binary.ts'
import { openServiceForward } from '../services/service-forward.ts'
import { ensureProgramImage } from '../services/test-image.ts'
import { openPromptModel, type PromptModel } from './prompt-model.ts'

/** infra/kubernetes in namespaces of a test's own. */
export type Install = AsyncDisposable & {
  readonly kubectl: Kubectl
  readonly admin: Admin
  readonly names: Names
  readonly model: PromptModel
  readonly modelKey: string
  /** Of the API. */
  readonly url: string
  /** An overlay as it is, but for the names. */
  rendered(overlay: 'try' | 'production', names: Names): Promise<Manifest[]>
}

type Skip = { readonly skip: string }

type Images = { readonly mgx: string; readonly mongo: string; readonly redis: string }

/** This machine as the cluster sees it: where a connection to the API server comes from. */
const addressFor = (server: URL): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: server.hostname, port: Number(server.port || 443) }, () => {
      resolve(socket.localAddress ?? '')
      socket.destroy()
    }).once('error', reject)
  })

/** There is no registry for tests: stand-ins for the public images, of the programs that this machine has. */
const loadImages = async (): Promise<Images | Skip> => {
  const found = await openDocker()
  if ('skip' in found) return { skip: found.skip ?? 'no Docker' }
  const [mongod, redis] = await Promise.all([findMongod(), findOrInstall('redis-server', ['redis-server'])])
  if ('why' in mongod) return { skip: `MongoDB: ${mongod.why}` }
  if ('why' in redis) return { skip: `Redis: ${redis.why}` }
  const { docker } = found
  return {
    mgx: await loadImage(await testImage()),
    mongo: await loadImage(await ensureProgramImage(docker, mongod.path)),
    redis: await loadImage(await ensureProgramImage(docker, redis.path)),
  }
}

/** What an operator does: the images in the overlay's one place, and the script that makes its secrets. */
const prepare = async (dir: string, images: Images, env: NodeJS.ProcessEnv): Promise<void> => {
  const skipSecrets = { recursive: true, filter: (path: string) => !path.endsWith('/secrets') }
  await cp(join(ROOT, 'infra/kubernetes'), join(dir, 'infra/kubernetes'), skipSecrets)
  await cp(join(ROOT, 'scripts'), join(dir, 'scripts'), { recursive: true })
  const file = join(dir, 'infra/kubernetes/overlays/try/kustomization.yaml')
  let text = await readFile(file, 'utf8')
  for (const [name, image] of Object.entries(images)) {
    const [newName, newTag] = image.split(':')
    text = text.replace(
      new RegExp(`- \\{ name: ${name}, .*`),
      `- { name: ${name}, newName: ${newName}, newTag: '${newTag}' }`,
    )
  }
  await writeFile(file, text)
  const { code, stderr } = await runCommand('sh', ['scripts/kubernetes-secrets.sh'], { cwd: dir, env })
  if (code !== 0) throw new Error(stderr)
}

type Pods = { readonly items: readonly { readonly status: { readonly podIP?: string } }[] }

const podIp = (admin: Admin, { services }: Names, app: string): Promise<string> =>
  waitFor(
    async () => {
      const query = `labelSelector=app.kubernetes.io/name%3D${app}`
      const { items } = await admin.ask<Pods>('GET', `/api/v1/namespaces/${services}/pods?${query}`)
      return items[0]?.status.podIP
    },
    { what: `the address of ${app}`, everyMs: 200, timeoutMs: 150_000 },
  )

/** As small as a cluster for tests, which has no storage class and is shared. */
const shrink = (all: readonly Manifest[], nodeDir: string): void => {
  changed(all, 'PersistentVolume', undefined, ({ spec }) => {
    spec.hostPath.path = nodeDir
  })
  changed(all, 'ConfigMap', 'mgx-settings', ({ data }) => {
    Object.assign(data, {
      AGENT_CONTAINER_MEMORY_LIMIT: '256m',
      AGENT_TMP_SIZE: '64m',
      KUBERNETES_CPU_REQUEST_PERCENT: '5',
    })
  })
  changed(all, 'Deployment', undefined, ({ spec }) => {
    const pod = spec.template.spec
    for (const container of pod.containers) container.resources.requests.cpu = '10m'
    for (const volume of pod.volumes.filter(({ name }: { name: string }) => name === 'data')) {
      delete volume.persistentVolumeClaim
      volume.emptyDir = {}
    }
  })
}

/** What names and Services do elsewhere: a cluster for tests may have neither DNS nor kube-proxy. */
const addressed = (all: readonly Manifest[], hosts: Readonly<Record<string, string>>, gateway: string): void => {
  changed(all, 'Deployment', 'mgx-', ({ spec }) => {
    spec.template.spec.hostAliases = Object.entries(hosts).map(([name, ip]) => ({ ip, hostnames: [name] }))
  })
  changed(all, 'Deployment', 'mgx-worker', ({ spec }) => {
    const env: { name: string; value: string }[] = spec.template.spec.containers[0].env
    for (const one of env) if (one.name === 'GATEWAY_TCP_URL') one.value = gateway
    // Any of them serves any run.
    spec.replicas = 2
  })
}

const isService = ({ kind, metadata }: Manifest): boolean => kind === 'Deployment' && metadata.name.startsWith('mgx-')

/** Of an installation that nobody else has. */
export const namesOfTest = (): Names => {
  const services = `mgx-test-${randomUUID().slice(0, 8)}`
  return { services, agents: `${services}-agents` }
}

/** Applies the overlay `try` and waits for its rollouts, as docs/kubernetes.md does. */
export const openInstall = async (): Promise<Install | Skip> => {
  const admin = await openCluster()
  if ('skip' in admin) return { skip: admin.skip ?? 'no cluster' }
  const kubectl = findKubectl()
  if ('skip' in kubectl) return kubectl
  const images = await loadImages()
  if ('skip' in images) return images
  await using closing = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'mgx-install-'))
  closing.defer(() => rm(dir, { recursive: true, force: true }))
  const host = await addressFor(admin.server)
  const model = closing.use(await openPromptModel(host))
  const modelKey = `sk-e2e-${randomUUID()}`
  await prepare(dir, images, {
    ...process.env,
    OPENAI_API_KEY: modelKey,
    OPENAI_BASE_URL: model.baseUrl,
    OPENAI_MODEL: 'm',
  })

  const names = namesOfTest()
  const { services } = names
  const rendered: Install['rendered'] = async (overlay, names) =>
    renamed(await renderManifests(kubectl, join(dir, 'infra/kubernetes/overlays', overlay)), names)
  const nodeDir = join(process.env.MGX_TEST_NODE_DIR ?? tmpdir(), services)
  closing.defer(() => rm(nodeDir, { recursive: true, force: true }))
  const all = await rendered('try', names)
  shrink(all, nodeDir)
  closing.defer(async () => {
    await kubectl(['delete', 'namespace', services, names.agents, '--ignore-not-found', '--wait=false'])
    await kubectl([
      'delete',
      'pv',
      '--ignore-not-found',
      '--wait=false',
      `${services}-workspaces`,
      `${services}-workspaces-agents`,
    ])
  })
  await applyManifests(
    kubectl,
    all.filter((one) => !isService(one)),
  )
  const gateway = closing.use(await openServiceForward(admin, services, 'mgx-gateway', host))
  const hosts = { mongodb: await podIp(admin, names, 'mongodb'), redis: await podIp(admin, names, 'redis') }
  addressed(all, hosts, `http://${host}:${gateway.port}`)
  await applyManifests(kubectl, all.filter(isService))
  for (const name of ['mgx-api', 'mgx-worker'])
    await kubectl(['rollout', 'status', '-n', services, '--timeout=180s', `deployment/${name}`])
  const api = closing.use(await openServiceForward(admin, services, 'mgx-api', '127.0.0.1'))
  const kept = closing.move()
  return {
    ...{ kubectl, admin, names, model, modelKey, rendered },
    url: `http://127.0.0.1:${api.port}`,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}
