/** A worker in a process of its own, that dies at a chosen moment: run as a program by the functions below. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import Docker from 'dockerode'
import { createDockerEngine } from '#scheduler/engines/docker.ts'
import type { SandboxEngine, SandboxSpec } from '#scheduler/engines/engine.ts'
import { createProcessEngine } from '#scheduler/engines/process.ts'

type Kind =
  | { readonly kind: 'docker'; readonly installation: string }
  | { readonly kind: 'process'; readonly stateDir: string; readonly command: readonly string[] }

export type DyingWorker = Kind & {
  readonly spec: SandboxSpec
  /** The job line; without it the worker dies instead of writing one. */
  readonly line?: string
}

const log = { warn: () => {} }

const engineOf = (worker: Kind): SandboxEngine =>
  worker.kind === 'docker'
    ? createDockerEngine({ docker: new Docker(), installation: worker.installation, log })
    : createProcessEngine({ stateDir: worker.stateDir, command: worker.command, production: false, log })

/** With its whole process group, as a closed terminal or a service manager does it. */
const die = (): never => {
  process.kill(-process.pid, 'SIGKILL')
  throw new Error('still alive')
}

const work = async (worker: DyingWorker): Promise<void> => {
  await engineOf(worker).start(worker.spec, () => worker.line ?? die(), AbortSignal.timeout(60_000))
  die()
}

const runAndDie = async (worker: DyingWorker): Promise<void> => {
  const args = [import.meta.filename, JSON.stringify(worker)]
  const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', 2, 2] })
  const [code, signal] = await once(child, 'exit')
  if (signal !== 'SIGKILL') throw new Error(`the worker should have been killed, and ended with ${code}`)
}

/** Resolves when it is dead: it had started the container, and had not written the job line. */
export const dieWhileStarting = (worker: Omit<DyingWorker, 'line'> & Kind): Promise<void> => runAndDie(worker)

/** Resolves when it is dead: its start had resolved. */
export const dieAfterStart = (worker: DyingWorker & { readonly line: string }): Promise<void> => runAndDie(worker)

if (import.meta.main) await work(JSON.parse(process.argv[2] ?? '') as DyingWorker)
