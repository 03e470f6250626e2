import type { Chart } from '../charts/chart.ts'
import { absolute, quantile, type Row, relative, spread } from '../row.ts'
import type { Limit } from './limit.ts'
import type { Overhead } from './marks.ts'
import type { Part } from './part.ts'

/** Everything that one simulation found. */
export type Found = {
  /** Crowds of few sessions, each on a stand of its own, before and after the large one. */
  readonly small: readonly Part[]
  readonly large: Part
  readonly limit?: Limit
}

/** The issue's own target. */
export const OVERHEAD_MAX = 2
/** CPU does not depend on who else uses the machine as much as time does; what is left is caches that are too small. */
export const CPU_MAX = 1.3
/** What is looked at is counted, not timed: only how many runs happen to be at work at once changes it. */
export const WORK_MAX = 1.3

const PHASES = ['wait', 'prepare', 'open', 'end'] as const
const WORDS: Readonly<Record<(typeof PHASES)[number], string>> = {
  wait: 'queue wait: accepted → taken up',
  prepare: 'taken up → the engine is asked',
  open: 'the engine has started it → stored',
  end: 'the container is over → all stored',
}

const all = (overheads: readonly Overhead[]): number[] => overheads.map((one) => one.all)
const mean = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / Math.max(1, values.length)
const MIB = 2 ** 20

const WORK = {
  commands: 'operations of MongoDB for each session',
  keys: 'keys that MongoDB looked at for each session',
  documents: 'documents that MongoDB looked at for each session',
} as const

const workOf = (parts: readonly Part[], what: keyof typeof WORK): number =>
  parts.reduce((sum, { work }) => sum + work[what], 0) / parts.reduce((sum, { sessions }) => sum + sessions, 0)

const count = (n: number): string => n.toLocaleString('en')

const limitRows = ({ perSecond, steps }: Limit): Row[] => {
  const last = steps.at(-1)
  if (last === undefined) return []
  const beyond = `sessions at ${last.rate}/s`
  return [
    absolute('limit: sessions started per second that were kept up with', perSecond, '1/s', null),
    absolute(`${beyond}: ended for each that came`, last.kept, '', null),
    absolute(`${beyond}: overhead, p50`, last.p50, 'ms', null),
    ...Object.entries(last.cores).map(([who, cores]) => absolute(`${beyond}: CPU of ${who}`, cores, 'cores', null)),
  ]
}

/** The table: what many sessions cost each against what few do. Pure. */
export const rowsOf = ({ small, large, limit }: Found): Row[] => {
  const few = small.flatMap(({ overheads }) => overheads)
  const many = large.overheads
  const [name, than] = [`${count(large.sessions)} sessions`, `${small[0]?.sessions ?? 0} at a time`]
  const [a, b] = [spread(all(many)), spread(all(few))]
  const fewCpu = mean(small.map(({ cpuMs }) => cpuMs))
  const grown = (large.memory[1] - large.memory[0]) / Math.max(1, large.sessions)
  return [
    relative(`scheduling overhead of ${name}, p50 (against ${than}, n = ${few.length})`, a.p50, 'ms', b.p50),
    relative(`scheduling overhead of ${name}, p95`, a.p95, 'ms', b.p95),
    relative(`scheduling overhead of ${name}, p99`, a.p99, 'ms', b.p99, { max: OVERHEAD_MAX }),
    ...PHASES.flatMap((phase) =>
      (['p50', 'p99'] as const).map((q) => {
        const of = (list: readonly Overhead[]) => spread(list.map((one) => one[phase]))[q]
        return relative(`${WORDS[phase]}, ${q}`, of(many), 'ms', of(few))
      }),
    ),
    relative('CPU of mgx and its databases for each session', large.cpuMs, 'ms', fewCpu, { max: CPU_MAX }),
    ...(['commands', 'keys', 'documents'] as const).map((what) =>
      relative(WORK[what], workOf([large], what), '', workOf(small, what), { max: WORK_MAX }),
    ),
    relative(
      'POST → 202, p99',
      quantile(large.answers, 0.99),
      'ms',
      quantile(
        small.flatMap((p) => p.answers),
        0.99,
      ),
    ),
    absolute('sessions started per second', large.perSecond, '1/s', null),
    absolute('events stored per second', large.eventsPerSecond, '1/s', null),
    absolute('runs at work at once, at most', large.peak, 'runs', null),
    absolute('API and workers, resident at the end', large.memory[1] / MIB, 'MiB', null),
    absolute('the same, grown for each session', grown / 1024, 'KiB', null),
    ...(limit === undefined ? [] : limitRows(limit)),
  ]
}

/** Overhead in the course of the large crowd: pieces of equal size. Pure. */
export const courseOf = (overheads: readonly Overhead[], pieces = 20): { at: number; p50: number; p99: number }[] => {
  const size = Math.max(1, Math.ceil(overheads.length / pieces))
  return Array.from({ length: Math.ceil(overheads.length / size) }, (_, n) => {
    const piece = all(overheads.slice(n * size, (n + 1) * size))
    return { at: Math.min(overheads.length, (n + 1) * size), p50: quantile(piece, 0.5), p99: quantile(piece, 0.99) }
  })
}

export const chartsOf = ({ large, limit }: Found): Chart[] => {
  const course = courseOf(large.overheads)
  const overhead: Chart = {
    kind: 'lines',
    file: 'simulate-overhead',
    title: `What a session waits for mgx, while ${count(large.sessions)} come and go`,
    subtitle: 'Milliseconds of scheduling overhead, in pieces of equal size, on a simulated engine.',
    x: { label: 'sessions so far', scale: 'linear' },
    y: { label: 'milliseconds', scale: 'linear' },
    series: [
      { name: 'p99', points: course.map(({ at, p99 }) => [at, p99] as const) },
      { name: 'p50', points: course.map(({ at, p50 }) => [at, p50] as const) },
    ],
  }
  if (limit === undefined || limit.steps.length < 2) return [overhead]
  const who = Object.keys(limit.steps[0]?.cores ?? {}) as (keyof Limit['steps'][number]['cores'])[]
  const cores: Chart = {
    kind: 'lines',
    file: 'simulate-limit',
    title: 'Who works, as more sessions come each second',
    subtitle: 'Cores in use by part; agents and driver are the simulation itself, machine is all that is in use.',
    x: { label: 'sessions per second', scale: 'linear' },
    y: { label: 'cores', scale: 'linear' },
    series: who.map((name) => ({ name, points: limit.steps.map((step) => [step.rate, step.cores[name]] as const) })),
  }
  return [overhead, cores]
}
