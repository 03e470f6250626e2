import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ROOT } from '../../runner/imports.ts'
import type { Struck } from './inflict.ts'
import type { Channel, Manner, Plan } from './plan.ts'
import type { Settings } from './settings.ts'
import type { Violation } from './verdict.ts'

export type RunLine = {
  readonly label: string
  readonly session_id: string
  readonly run_id: string
  readonly channel: Channel
  readonly manner: Manner
  readonly cause?: string
  readonly attempts: number
  readonly events: number
  /** From its acceptance to its `finish`. */
  readonly seconds?: number
  /** How often its clients connected, all together. */
  readonly connections: number
  readonly violations: readonly string[]
}

export type Report = {
  readonly mode: Settings['mode']
  readonly seed: number
  /** What repeats it. */
  readonly command: string
  readonly seconds: number
  /** Faults that this machine cannot have, and why. */
  readonly without: readonly string[]
  readonly runs: readonly RunLine[]
  readonly faults: readonly Struck[]
  readonly violations: readonly Violation[]
  readonly plan: Plan
  /** What every process of a house has logged; kept where a promise was broken. */
  readonly logs: readonly { readonly channel: Channel; readonly text: string }[]
}

const tally = (words: readonly string[]): [string, number][] => {
  const counts = new Map<string, number>()
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
  return [...counts].sort((a, b) => b[1] - a[1])
}

const listed = (words: readonly string[]): string =>
  tally(words)
    .map(([word, count]) => `${word} ${count}`)
    .join(', ')

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0)

const rows = ({ runs, faults, without, seconds }: Report): [string, string][] => [
  [
    'runs',
    `${runs.length} in ${new Set(runs.map(({ session_id }) => session_id)).size} sessions, ${Math.round(seconds)} s`,
  ],
  ['manners', listed(runs.map(({ manner }) => manner))],
  ['ended as', listed(runs.map(({ cause }) => cause ?? 'nothing'))],
  [
    'events',
    `${sum(runs.map(({ events }) => events))}, followed over ${sum(runs.map((run) => run.connections))} connections`,
  ],
  ['taken up', `${sum(runs.map(({ attempts }) => attempts))} times`],
  ['faults', `${faults.length}: ${listed(faults.map(({ kind }) => kind))}`],
  ['missed', listed(faults.filter(({ error }) => error !== undefined).map(({ kind }) => kind)) || 'none'],
  ...without.map((why): [string, string] => ['without', why]),
]

const violationLine = ({ rule, session_id, run_id, what }: Violation): string =>
  `  ✗ ${rule}: ${what}${session_id === undefined ? '' : `\n      session ${session_id}`}${run_id === undefined ? '' : ` run ${run_id}`}`

/** The page that ends a run of the harness. Pure. */
export const summaryOf = (report: Report): string => {
  const { violations, seed, command } = report
  const title = `${report.mode}, seed ${seed}: ${violations.length === 0 ? 'every promise was kept' : `${violations.length} violations`}`
  const body = rows(report).map(([name, text]) => `  ${name.padEnd(10)}${text}`)
  return ['', title, ...body, ...violations.map(violationLine), `  to repeat  ${command}`].join('\n')
}

/** Keeps the report as JSON in .cache/chaos, and the logs beside it; gives its path, from the top of the repository. */
export const keepReport = async ({ logs, ...report }: Report): Promise<string> => {
  const dir = join('.cache', 'chaos')
  await mkdir(join(ROOT, dir), { recursive: true })
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(':', '')
  const name = join(dir, `seed-${report.seed}-${report.plan.sessions.length}-${stamp}`)
  for (const { channel, text } of logs) await writeFile(join(ROOT, `${name}-${channel}.log`), text)
  await writeFile(join(ROOT, `${name}.json`), `${JSON.stringify(report, null, 1)}\n`)
  return `${name}.json`
}
