import type { DotChart } from './charts/chart.ts'
import { dockerRun, openBareDocker } from './docker.ts'
import type { Findings } from './part.ts'
import { type Bound, median, type Row, relative, spread, withoutVerdict } from './row.ts'
import { runSession } from './session.ts'
import { type Bench, type Stack, startEmbedded, startPolling, startServices } from './stack.ts'

/** One thing that is started again and again. `every`: only in each nth round, where one takes long. */
type Subject = {
  readonly name: string
  readonly group: 'ours' | 'baseline'
  readonly every: number
  /** Of p50 and p99, against the median of `docker run`. */
  readonly bounds: { readonly p50?: Bound; readonly p99?: Bound }
  /** Milliseconds; `undefined`: it was not what is measured (a warm start that became a cold one). */
  once(): Promise<number | undefined>
  readonly ms: number[]
  missed: number
}

const WARM_UP = 2
const BUDGET_MS = 150_000

/** How far `docker run` may be from itself in a run whose ratios say something. */
const NOISE_MAX = 0.15

/** @param how what the run must say of its start; `undefined`: it says nothing */
const session = (stack: Stack, how?: 'cold' | 'warm') => async () => {
  const { startMs, reason } = await runSession(stack)
  await stack.idle()
  return how === undefined || reason === how ? startMs : undefined
}

const baselines = async (bench: Bench, stack: AsyncDisposableStack): Promise<Subject[]> => {
  const bare = stack.use(await openBareDocker({ image: bench.image, network: 'bridge' }))
  const polling = stack.use(await startPolling(bench, { name: 'polling' }))
  const subject = (name: string, every: number, once: Subject['once']): Subject => ({
    name,
    group: 'baseline',
    every,
    bounds: {},
    once,
    ms: [],
    missed: 0,
  })
  return [
    subject('docker run', 1, () => dockerRun(bench.image)),
    subject('docker run, once more (A/A)', 1, () => dockerRun(bench.image)),
    subject('dockerode script', 1, () => bare.firstByte()),
    subject('polling architecture', 4, session(polling)),
  ]
}

const cold = async (bench: Bench, stack: AsyncDisposableStack): Promise<Subject[]> => {
  const subject = (name: string, max: number, own: Stack): Subject => ({
    name: `cold, ${name}`,
    group: 'ours',
    every: 1,
    bounds: { p50: { max } },
    once: session(own, 'cold'),
    ms: [],
    missed: 0,
  })
  return [
    subject('embedded, gateway', 0.9, stack.use(await startEmbedded(bench, { name: 'embedded' }))),
    subject('services, gateway', 0.9, stack.use(await startServices(bench, 'gateway', { name: 'gateway' }))),
    subject('services, direct', 1.2, stack.use(await startServices(bench, 'direct', { name: 'direct' }))),
  ]
}

const warm = async (bench: Bench, stack: AsyncDisposableStack): Promise<Subject[]> => {
  const pool = 2
  const subject = (name: string, max: number, p99: Bound, own: Stack): Subject => ({
    name: `warm, ${name}`,
    group: 'ours',
    every: 1,
    bounds: { p50: { max }, p99 },
    once: session(own, 'warm'),
    ms: [],
    missed: 0,
  })
  const p99 = { max: 0.3 }
  const gateway = await startServices(bench, 'gateway', { name: 'warm_gateway', pool })
  const direct = await startServices(bench, 'direct', { name: 'warm_direct', pool })
  return [
    subject('embedded, gateway', 0.06, p99, stack.use(await startEmbedded(bench, { name: 'warm_embedded', pool }))),
    subject('services, gateway', 0.09, p99, stack.use(gateway)),
    subject('services, direct', 0.2, undefined, stack.use(direct)),
  ]
}

/** The same list in another order: so that what one leaves behind does not always fall on the same other one. */
const shuffled = <T>(list: readonly T[]): T[] =>
  list
    .map((item) => ({ item, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)

/** Rounds until there are enough, or the time for them is over: then there are fewer. */
const measure = async (subjects: readonly Subject[], rounds: number): Promise<void> => {
  const end = performance.now() + BUDGET_MS
  for (let round = -WARM_UP; round < rounds && (round < 1 || performance.now() < end); round++) {
    for (const subject of shuffled(subjects)) {
      if (round > 0 && round % subject.every !== 0) continue
      const ms = await subject.once()
      if (round < 0) continue
      if (ms === undefined) subject.missed += 1
      else subject.ms.push(ms)
    }
  }
}

const rowsOf = (subject: Subject, floor: number): Row[] => {
  const { name, bounds } = subject
  const { p50, p95, p99 } = spread(subject.ms)
  const what = subject.group === 'ours' ? `POST → agent_start, ${name}` : name
  const n = `(n = ${subject.ms.length}${subject.missed > 0 ? `, ${subject.missed} more were not ${name.split(',')[0]}` : ''})`
  return [
    relative(`${what}, p50 ${n}`, p50, 'ms', floor, bounds.p50),
    relative(`${what}, p95`, p95, 'ms', floor),
    relative(`${what}, p99`, p99, 'ms', floor, bounds.p99),
  ]
}

const chartOf = (subjects: readonly Subject[]): DotChart => ({
  kind: 'dots',
  file: 'sessions',
  title: 'From POST to the agent’s first event',
  subtitle: 'One session at a time; milliseconds, p50, p95 and p99. Grey: baselines of the same interleaved run.',
  x: { label: 'milliseconds (logarithmic)', scale: 'log' },
  rows: subjects.map(({ name, group, ms }) => ({
    name,
    group,
    marks: Object.entries(spread(ms)).map(([label, value]) => ({ label, value })),
  })),
})

/** One session at a time, cold and warm, interleaved round by round with what the machine and the plain designs can do. */
export const benchSessions = async (bench: Bench): Promise<Findings> => {
  await using stack = new AsyncDisposableStack()
  const [base, coldOnes, warmOnes] = [await baselines(bench, stack), await cold(bench, stack), await warm(bench, stack)]
  const subjects = [...base, ...coldOnes, ...warmOnes]
  await measure(subjects, bench.quick ? 2 : 16)
  const [run, control] = base as [Subject, Subject]
  const floor = median(run.ms)
  const noise = relative('A/A control: docker run against itself, p50', median(control.ms), 'ms', floor)
  const rows = subjects.filter((one) => one !== control).flatMap((one) => rowsOf(one, floor))
  const isQuiet = Math.abs((noise.ratio ?? 0) - 1) <= NOISE_MAX
  return {
    rows: [noise, ...(isQuiet ? rows : rows.map(withoutVerdict))],
    charts: [chartOf(subjects)],
  }
}
