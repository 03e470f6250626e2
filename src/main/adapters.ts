import { join } from 'node:path'
import type { Logger } from 'pino'
import type { JobQueue } from '#queue/job-queue.ts'
import { createClaims } from '#scheduler/claims.ts'
import type { SandboxEngine } from '#scheduler/engines/engine.ts'
import type { WorkerConfig } from '#scheduler/worker-context.ts'
import type { OpenStore } from '#store/store.ts'
import type { EngineSettings } from './config-agents.ts'

/** The one place where names become adapters. Each is loaded only when it is chosen. */

export type StoreChoice =
  | { readonly kind: 'sqlite'; readonly file: string }
  | { readonly kind: 'mongodb'; readonly url: string; readonly db: string }

export type QueueChoice =
  | { readonly kind: 'in-process' }
  | { readonly kind: 'bullmq'; readonly url: string; readonly prefix: string }

export const openStore = async (choice: StoreChoice, log: Logger): Promise<OpenStore> => {
  if (choice.kind === 'sqlite') {
    const { openSqliteStore } = await import('#store/sqlite.ts')
    return openSqliteStore({ file: choice.file })
  }
  const { openMongoStore } = await import('#store/mongodb.ts')
  return openMongoStore({ url: choice.url, db: choice.db, log })
}

export const openQueue = async (choice: QueueChoice, log: Logger): Promise<JobQueue & AsyncDisposable> => {
  if (choice.kind === 'in-process') {
    const { createInProcessQueue } = await import('#queue/in-process.ts')
    return createInProcessQueue({ log })
  }
  const { openBullQueue } = await import('#queue/bullmq.ts')
  return openBullQueue({ url: choice.url, prefix: choice.prefix, log })
}

/** An engine, and how to find out whether it can work here: rejects with an `EngineError` that says what to do. */
export type ChosenEngine = { readonly engine: SandboxEngine; check(): Promise<void> }

/** What runs an agent without a container: this very Node, on the source. */
const RUNNER_COMMAND = [process.execPath, join(import.meta.dirname, 'runner.ts')]

const createDocker = async (settings: EngineSettings, worker: WorkerConfig, log: Logger): Promise<ChosenEngine> => {
  const [{ createDockerEngine }, { connectDocker }, { checkWorkspaceMapping }, { checkDisks }] = await Promise.all([
    import('#scheduler/engines/docker.ts'),
    import('#scheduler/engines/docker-daemon.ts'),
    import('#scheduler/engines/docker-check.ts'),
    import('#scheduler/check-disks.ts'),
  ])
  const { installation, image, network } = settings
  const docker = connectDocker({})
  const claims = createClaims(worker.workspacesRoot)
  const engine = createDockerEngine({ docker, installation, image, network, claims, log })
  const { workspacesRoot: root, hostWorkspacesRoot: hostRoot } = worker
  const sees = (inside: string, outside: string) =>
    checkWorkspaceMapping({ docker, installation, image, root: inside, hostRoot: outside })
  return {
    engine,
    check: async () => {
      await engine.check()
      await sees(root, hostRoot)
      if (worker.disk.hard) await checkDisks({ root, hostRoot, engineId: await engine.engineId(), sees })
    },
  }
}

const createKubernetes = async (settings: EngineSettings, worker: WorkerConfig, log: Logger): Promise<ChosenEngine> => {
  const { createKubernetesEngine } = await import('#scheduler/engines/kubernetes.ts')
  const { pendingMs, ...cluster } = settings.kubernetes
  const engine = createKubernetesEngine({
    ...cluster,
    installation: settings.installation,
    image: settings.image,
    stopGraceMs: worker.timings.stopGrace,
    patience: { pending: pendingMs },
    log,
  })
  return { engine, check: () => engine.check() }
}

export const createEngine = async (
  settings: EngineSettings,
  worker: WorkerConfig,
  log: Logger,
): Promise<ChosenEngine> => {
  if (settings.kind === 'docker') return createDocker(settings, worker, log)
  if (settings.kind === 'kubernetes') return createKubernetes(settings, worker, log)
  const { createProcessEngine } = await import('#scheduler/engines/process.ts')
  const stateDir = join(worker.workspacesRoot, '.mgx', 'processes')
  const engine = createProcessEngine({ stateDir, command: RUNNER_COMMAND, production: settings.production, log })
  return { engine, check: () => engine.check() }
}
