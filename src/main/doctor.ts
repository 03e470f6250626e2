import type { WorkerConfig } from '#scheduler/worker-context.ts'
import { devConfig, workerConfig } from './config.ts'
import type { EngineKind, EngineSettings } from './config-agents.ts'
import { dockerChecks } from './doctor-docker.ts'
import { kubernetesCheck } from './doctor-kubernetes.ts'
import { machineChecks } from './doctor-machine.ts'
import { type Check, type Finding, lineOf, runCheck, summaryOf, warning } from './doctor-report.ts'
import { serviceChecks } from './doctor-services.ts'
import type { Env } from './read-env.ts'
import { runRoot } from './root.ts'

/**
 * `npm run doctor` and `make doctor`: looks at this host before it takes work, with the settings that a worker would have
 * (with MONGODB_URL or REDIS_URL), or else the embedded mode. Exit code 1 when something is to be mended; `--json` for programs.
 */

type Subject = {
  readonly engine: EngineKind | 'either'
  readonly settings: Omit<EngineSettings, 'kind'>
  readonly worker: WorkerConfig
  readonly services: readonly Check[]
}

const isGiven = (value: string | undefined): boolean => (value ?? '').trim() !== ''

const subjectOf = (env: Env): Subject => {
  if (['MONGODB_URL', 'REDIS_URL', 'MONGODB_URL_FILE', 'REDIS_URL_FILE'].some((name) => isGiven(env[name]))) {
    const settings = workerConfig(env)
    return {
      engine: settings.engine.kind,
      settings: settings.engine,
      worker: settings.worker,
      services: serviceChecks(settings),
    }
  }
  const { engine, worker } = devConfig(env)
  return { engine: engine.kind ?? 'either', settings: engine, worker, services: [] }
}

const PLAIN = warning(
  'engine',
  'plain processes, which isolate nothing: agents have the files, the network and the rights of this user',
  'Install Docker for anything but trying mgx out with prompts you trust.',
)

/** The embedded mode takes plain processes where no Docker works: then that is no failure of the host. */
const engineFindings = async ({ engine, settings, worker }: Subject): Promise<readonly Finding[]> => {
  if (engine === 'process') return [PLAIN]
  if (engine === 'kubernetes') return runCheck(kubernetesCheck({ ...settings, kind: engine }, worker))
  const found = (await Promise.all(dockerChecks(worker).map(runCheck))).flat()
  const works = found.some(({ check, verdict }) => check === 'Docker' && verdict === 'ok')
  if (engine === 'docker' || works) return found
  return [...found.map((finding) => ({ ...finding, verdict: 'warning' as const })), PLAIN]
}

await runRoot('doctor', async (env) => {
  const subject = subjectOf(env)
  const json = process.argv.includes('--json')
  const findings: Finding[] = []
  const tell = (found: readonly Finding[]) => {
    findings.push(...found)
    if (!json) for (const finding of found) process.stdout.write(`${lineOf(finding)}\n`)
  }
  for (const check of machineChecks(subject.worker.workspacesRoot, subject.worker.disk)) tell(await runCheck(check))
  tell(await engineFindings(subject))
  for (const check of subject.services) tell(await runCheck(check))
  const ready = findings.every(({ verdict }) => verdict !== 'failure')
  process.stdout.write(json ? `${JSON.stringify({ ready, findings })}\n` : `\n${summaryOf(findings)}\n`)
  return ready ? 0 : 1
})
