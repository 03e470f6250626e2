import type { Run } from '#contracts/run.ts'
import type { Driven } from './drive.ts'
import { CAUSE_OF, type Fate } from './fates.ts'
import type { Stand } from './house.ts'

/** What is stored when all is over, and everything about it that breaks a promise. */
export type Checked = { readonly events: number; readonly violations: readonly string[] }

type Counted = { readonly _id: string; readonly n: number; readonly last: number }

const checkRun = (run: Run, fate: Fate): string[] => {
  const found: string[] = []
  const say = (what: string) => found.push(`${run.session_id}: ${what}`)
  if (run.state !== 'finished') say(`its run is ${run.state}`)
  else if (run.result?.cause !== CAUSE_OF[fate.kind]) say(`was to end as ${fate.kind}, and has ${run.result?.cause}`)
  if (run.lock || !run.container_gone) say('its run still holds a lock or a container')
  return found
}

const marksOf = ({ ended }: Driven): string[] => {
  const seen = new Set<string>()
  return ended.flatMap(({ run_id, session_id, starts }) => {
    const twice = seen.has(run_id) ? [`${session_id}: was finished by two workers`] : []
    seen.add(run_id)
    return starts > 1 ? [...twice, `${session_id}: had ${starts} containers`] : twice
  })
}

/** Runs, sessions and logs of a stand that is at rest against what was accepted: every run ended, once, and as it had to. */
export const checkStand = async (
  { db }: Pick<Stand, 'db'>,
  driven: Driven,
  fate: (sessionId: string) => Fate,
  prefix: string,
): Promise<Checked> => {
  const violations = [...driven.wrong, ...marksOf(driven)]
  const mine = { session_id: { $regex: `^${prefix}-` } }
  const runs = await db.collection<Run>('runs').find(mine).toArray()
  const known = new Map(runs.map((run) => [run.run_id, run]))
  for (const [runId, session] of driven.accepted) if (!known.has(runId)) violations.push(`${session}: its run is lost`)
  for (const run of runs) {
    if (!driven.accepted.has(run.run_id)) violations.push(`${run.session_id}: a run that nobody was told of`)
    violations.push(...checkRun(run, fate(run.session_id)))
  }
  const events = db.collection('events')
  const logs = await events
    .aggregate<Counted>([{ $match: mine }, { $group: { _id: '$session_id', n: { $sum: 1 }, last: { $max: '$seq' } } }])
    .toArray()
  for (const { _id, n, last } of logs) if (n !== last) violations.push(`${_id}: ${n} events, and the last is ${last}`)
  for (const event_type of ['finish', 'agent_start']) {
    const counted = await events
      .aggregate<Counted>([{ $match: { ...mine, event_type } }, { $group: { _id: '$run_id', n: { $sum: 1 } } }])
      .toArray()
    for (const { _id, n } of counted) if (n > 1) violations.push(`${_id}: ${n} times ${event_type}`)
    if (event_type === 'finish' && counted.length !== runs.length) {
      violations.push(`${runs.length} runs, and ${counted.length} have a finish`)
    }
  }
  return { events: logs.reduce((sum, { n }) => sum + n, 0), violations }
}
