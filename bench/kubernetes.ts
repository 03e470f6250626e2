/**
 * `KUBECONFIG=… node bench/kubernetes.ts`: what the Kubernetes engine itself costs, without the cluster: processor time and calls for
 * each run, one after the other (RUNS=20), and for many at once (PODS=100), none of which may be lost. KUBERNETES_LOAD as for
 * `make test-kubernetes`. Beside the engine this process only plays the worker: it starts, waits, reads and removes.
 */
import { loadavg } from 'node:os'
import type { SandboxSpec } from '#scheduler/engines/engine.ts'
import { untilEngineAnswers } from '#scheduler/patience.ts'
import { DEFAULT_TIMINGS } from '#scheduler/worker-context.ts'
import { type Ground, leaveFile, openGround, readLogs, startSteps } from '../tests/conformance/engine-bench.ts'
import { noCluster, openKubernetesBench } from '../tests/scheduler/engines/kubernetes-bench.ts'

process.env.MGX_TEST_KUBERNETES_LOAD ??= process.env.KUBERNETES_LOAD

const RUNS = Number(process.env.RUNS ?? 20)
const PODS = Number(process.env.PODS ?? 100)

/** A busy node of two cores takes minutes for a hundred pods. */
const LIMIT_MS = 1_200_000

type Cost = { readonly cpuMs: number; readonly wallMs: number }

const costOf = async (work: () => Promise<void>): Promise<Cost> => {
  const [cpu, since] = [process.cpuUsage(), performance.now()]
  await work()
  const { user, system } = process.cpuUsage(cpu)
  return { cpuMs: (user + system) / 1000, wallMs: performance.now() - since }
}

/** A whole run as a worker has it, which asks an API server that does not answer again. @returns why it was lost, if it was */
const runOne = async (ground: Ground, spec: SandboxSpec, started: () => void): Promise<string | undefined> => {
  const { engine } = ground
  const signal = AbortSignal.timeout(LIMIT_MS)
  const asked = <T>(call: () => Promise<T>): Promise<T> =>
    untilEngineAnswers(call, DEFAULT_TIMINGS.enginePatience, signal)
  const steps = [{ do: 'awaitFile', file: 'go' }] as const
  const { containerId } = await asked(() => startSteps(ground, engine, spec, steps, signal))
  started()
  const [exit, output] = await Promise.all([
    asked(() => engine.wait(spec, signal)),
    asked(() => readLogs(engine, spec, signal)),
  ])
  await asked(() => engine.remove(spec))
  if (exit.code !== 0) return `ended as ${JSON.stringify(exit)}`
  return output === `I am ${containerId}\n` ? undefined : `its output is ${JSON.stringify(output)}`
}

const oneByOne = async (ground: Ground): Promise<void> => {
  for (let run = 0; run < RUNS; run++) {
    const spec = await ground.newSpec()
    const lost = await runOne(ground, spec, () => void leaveFile(spec, 'go'))
    if (lost !== undefined) throw new Error(lost)
  }
}

/** All of them are there before the first one may end. */
const atOnce = async (ground: Ground): Promise<readonly string[]> => {
  const specs = await Promise.all(Array.from({ length: PODS }, () => ground.newSpec()))
  let running = 0
  const started = () => {
    running += 1
    if (running === PODS) for (const spec of specs) void leaveFile(spec, 'go')
  }
  const ends = await Promise.all(specs.map((spec) => runOne(ground, spec, started).catch(String)))
  return ends.filter((lost) => lost !== undefined)
}

const line = (what: string, runs: number, { cpuMs, wallMs }: Cost, more: string): void => {
  const each = `${(cpuMs / runs).toFixed(1)} ms of our processor time per run, ${(wallMs / 1000).toFixed(1)} s in all`
  console.log(`${what}: ${each}${more} (load ${(loadavg()[0] ?? 0).toFixed(1)})`)
}

if (noCluster) {
  console.error(noCluster)
  process.exit(2)
}
await using ground = await openGround(async () => {
  const bench = await openKubernetesBench()
  // As small as they can be: a node of two cores has to take them all.
  return { ...bench, engine: bench.open({ cpuShare: 0.005, patience: { pending: LIMIT_MS, failing: LIMIT_MS } }) }
})
const warm = await ground.newSpec()
// Code is read and compiled once, and connections are opened.
await runOne(ground, warm, () => void leaveFile(warm, 'go'))
if (RUNS > 0) line(`${RUNS} runs, one after the other`, RUNS, await costOf(() => oneByOne(ground)), '')
let lost: readonly string[] = []
const cost = await costOf(async () => {
  lost = await atOnce(ground)
})
line(`${PODS} pods at once`, PODS, cost, `, ${lost.length} lost`)
for (const why of lost) console.log(`  lost: ${why}`)
process.exitCode = lost.length === 0 ? 0 : 1
