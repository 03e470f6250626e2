/**
 * `make chaos`, `make rollout`: N sessions on two whole installations while everything under them is killed, and a verdict. Exit code 1 when a promise
 * was broken, 2 when it could not be tried here.
 */
import { randomInt } from 'node:crypto'
import { runChaos } from './chaos.ts'
import { keepReport, summaryOf } from './report.ts'
import { readSettings, type Settings } from './settings.ts'

const settings = ((): Settings => {
  try {
    return readSettings(process.env, () => randomInt(1, 1_000_000))
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exit(2)
  }
})()
for (const name of ['SESSIONS', 'SEED', 'DURATION', 'PLACES', 'FAULTS', 'WITH', 'MODE']) delete process.env[name]

const interrupted = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => interrupted.abort(new Error(name)))

console.log(`${settings.mode}: ${settings.sessions} sessions, seed ${settings.seed}`)
const report = await runChaos({ settings, say: (line) => console.log(line), signal: interrupted.signal })
if ('skip' in report) {
  console.error(`chaos needs what this machine lacks: ${report.skip}`)
  process.exit(2)
}
const path = await keepReport(report)
console.log(summaryOf(report))
console.log(`  report     ${path}`)
if (interrupted.signal.aborted) console.log('  interrupted: not every session began')
process.exit(report.violations.length > 0 || interrupted.signal.aborted ? 1 : 0)
