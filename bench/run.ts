/**
 * `make bench`, or `node bench/run.ts [part …]`: measures, prints, and writes bench/results, the plots and the table of
 * docs/benchmarks.md (only when every part ran, and not quickly). PART=a,b chooses parts; QUICK=1 only tries whether it
 * works. Needs Docker and the image (`make build-agent`).
 */
import { loadavg } from 'node:os'
import { benchBursts } from './bursts.ts'
import type { Chart } from './charts/chart.ts'
import { removeLeftovers } from './docker.ts'
import { benchEventLatency } from './event-latency.ts'
import { benchFanOut } from './fan-out.ts'
import { benchGenerate } from './generate.ts'
import { benchGrowthLine } from './growth-line.ts'
import { benchGrowthLog } from './growth-log.ts'
import { benchGrowthQueue } from './growth-queue.ts'
import { benchGrowthSessions } from './growth-sessions.ts'
import { benchIdleClients } from './idle-clients.ts'
import { benchImageSize } from './image-size.ts'
import type { Part } from './part.ts'
import { machineLine, markdownTable, saveReport } from './report.ts'
import type { Row } from './row.ts'
import { benchSessions } from './sessions.ts'
import { openBench } from './stack.ts'

const PARTS: Readonly<Record<string, Part>> = {
  sessions: benchSessions,
  bursts: benchBursts,
  'event-latency': benchEventLatency,
  'fan-out': benchFanOut,
  'idle-clients': benchIdleClients,
  'growth-log': benchGrowthLog,
  'growth-sessions': benchGrowthSessions,
  'growth-queue': benchGrowthQueue,
  'growth-line': benchGrowthLine,
  generate: benchGenerate,
  'image-size': benchImageSize,
}

const asked = [...process.argv.slice(2), ...(process.env.PART ?? '').split(/[\s,]+/)].filter((name) => name !== '')
const quick = ['1', 'true'].includes(process.env.QUICK ?? '')
const unknown = asked.filter((name) => !(name in PARTS))
if (unknown.length > 0) {
  console.error(`unknown part ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`)
  process.exit(2)
}

// The services and processes of the benchmark end in hooks of `exit`, which a signal alone would pass by.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))

process.setMaxListeners(100)
process.on('exit', removeLeftovers)

const rows: Row[] = []
const charts: Chart[] = []
const loads: number[] = []
const begin = performance.now()
const isSaved = asked.length === 0 && !quick
/** Parts that came to nothing: the others are measured all the same, and the table says which are missing. */
const failed: string[] = []
const machine = () => {
  const line = machineLine(loads, (performance.now() - begin) / 60_000)
  return failed.length === 0 ? line : `${line} Missing, because they failed: ${failed.join(', ')}.`
}
const seconds = (from: number) => `${((performance.now() - from) / 1000).toFixed(0)} s`
{
  await using bench = await openBench(process.env.AGENT_CONTAINER_IMAGE ?? 'mgx:latest', quick)
  for (const [name, part] of Object.entries(PARTS)) {
    if (asked.length > 0 && !asked.includes(name)) continue
    process.stderr.write(`bench: ${name} … `)
    const start = performance.now()
    try {
      const found = await part(bench)
      rows.push(...found.rows)
      charts.push(...(found.charts ?? []))
      process.stderr.write(`${seconds(start)}\n`)
    } catch (error) {
      failed.push(name)
      process.exitCode = 1
      process.stderr.write(`failed after ${seconds(start)}: ${error instanceof Error ? error.stack : error}\n`)
    }
    loads.push(loadavg()[0] ?? 0)
    // After each part: a run that is broken off keeps what it has.
    if (isSaved) await saveReport(rows, charts, machine())
  }
}
console.log(markdownTable(rows, machine()))
if (!isSaved) console.log('\nNot saved: only a run of every part, and not a quick one, is.')
const missed = rows.filter((row) => row.meets === false)
if (missed.length > 0) console.log(`\n${missed.length} of ${rows.length} figures miss their target.`)
