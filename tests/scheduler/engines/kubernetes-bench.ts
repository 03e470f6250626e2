import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SandboxEngine } from '#scheduler/engines/engine.ts'
import { createKubernetesEngine, type KubernetesEngineOptions } from '#scheduler/engines/kubernetes.ts'
import type { EngineBench } from '../../conformance/engine-bench.ts'
import { FILLER, toShell } from '../../conformance/shell-runner.ts'
import { freePort } from '../../helpers.ts'
import { type CuttableProxy, openCuttableProxy } from '../../services/cuttable-proxy.ts'
import { openDocker } from '../../services/docker.ts'
import {
  type Admin,
  makeUser,
  type Namespace,
  openCluster,
  openNamespace,
  writeKubeconfig,
} from '../../services/kubernetes.ts'
import { loadImage } from '../../services/kubernetes-image.ts'
import { ensureBoxImage } from '../../services/test-image.ts'

const found = await openCluster()

/** Why the tests of a file cannot run here, or `false`. */
export const noCluster: string | false = 'skip' in found ? found.skip : false

export const testAdmin = (): Admin => {
  if ('skip' in found) throw new Error(found.skip)
  return found
}

let loaded: Promise<string> | undefined

/** The image with `SHELL_RUNNER`, on the nodes; once for all tests of a file. */
const boxImage = async (): Promise<string> => {
  const opened = await openDocker()
  if (!('docker' in opened)) throw new Error(opened.skip)
  loaded ??= ensureBoxImage(opened.docker).then(loadImage)
  return loaded
}

export const silent = { warn: () => {} }

export type KubernetesBench = EngineBench & {
  readonly admin: Admin
  readonly ns: Namespace
  readonly installation: string
  /** Of the user that the engine is. */
  readonly kubeconfig: string
  /** Between the engine and the API server. */
  readonly proxy: CuttableProxy
  /** One more engine on the same pods, with what differs. */
  open(more?: Partial<KubernetesEngineOptions>): SandboxEngine
}

/** The Kubernetes engine in a namespace of its own, as a user with exactly its rights, behind a proxy that can be cut. */
export const openKubernetesBench = async (
  options: { readonly labels?: Readonly<Record<string, string>> } = {},
): Promise<KubernetesBench> => {
  await using stack = new AsyncDisposableStack()
  const admin = testAdmin()
  const image = await boxImage()
  const ns = stack.use(await openNamespace(admin, options.labels))
  const dir = await mkdtemp(join(tmpdir(), 'mgx-kube-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const port = await freePort()
  const upstream = { host: admin.server.hostname, port: Number(admin.server.port || 443) }
  const proxy = stack.use(await openCuttableProxy({ host: '127.0.0.1', port }, upstream))
  const kubeconfig = await writeKubeconfig(admin, dir, await makeUser(admin, ns), port)
  const installation = `test-${randomUUID()}`
  const open = (more: Partial<KubernetesEngineOptions> = {}) =>
    createKubernetesEngine({
      namespace: ns.name,
      kubeconfig,
      installation,
      image,
      cpuShare: 0.02,
      stopGraceMs: 1000,
      patience: { failing: 3000 },
      log: silent,
      ...more,
    })
  const kept = stack.move()
  return {
    engine: open(),
    admin,
    ns,
    installation,
    kubeconfig,
    proxy,
    image,
    open,
    reopen: open,
    line: toShell,
    // The kubelet rotates at 10 MiB of its own format, which adds 40 bytes to each of these short lines.
    // Whole lines: a node keeps an unfinished one back until the container ends.
    logBytes: 117_000 * FILLER.length,
    // containerd 1.6.20 closes the output of a container that ended before it has read all ("Failed to pipe stdout"): the end
    // is then not in the node's log either. Seen in 4 of 24 containers that ended right after 2 MB, three at a time, followed live.
    losesLastWords: true,
    workspaces: process.env.MGX_TEST_NODE_DIR ?? tmpdir(),
    spoil: (spec) => ({ spec: { ...spec, image: 'kube.local/mgx-test-nothing:none' }, failure: 'image_missing' }),
    outage: { begin: proxy.cut, end: proxy.restore },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}
