import type { WorkerConfig } from '#scheduler/worker-context.ts'
import { createEngine } from './adapters.ts'
import type { EngineSettings } from './config-agents.ts'
import { type Check, ok } from './doctor-report.ts'
import { createLogger } from './logger.ts'

/** What the engine itself looks at before it takes work: rights, namespace, claim, admission. What nodes enforce is theirs. */
export const kubernetesCheck = (settings: EngineSettings, worker: WorkerConfig): Check => ({
  name: 'Kubernetes',
  remedy: 'See docs/kubernetes.md.',
  async run() {
    const { check } = await createEngine(settings, worker, createLogger('doctor', 'error'))
    await check()
    return [ok('Kubernetes', `takes agents in the namespace ${settings.kubernetes.namespace}`)]
  },
})
