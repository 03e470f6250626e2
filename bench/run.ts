/**
 * `make bench`, or `node bench/run.ts [part …]`: measures, prints, and writes bench/results/latest.json and the table of
 * docs/benchmarks.md (only when every part ran). Needs Docker and the image (`make build-agent`).
 */
import { benchColdStart } from './cold-start.ts'
import { benchEventLatency } from './event-latency.ts'
import { benchGenerate } from './generate.ts'
import { benchIdleClients } from './idle-clients.ts'
import { benchImageSize } from './image-size.ts'
import { machineLine, markdownTable, saveReport } from './report.ts'
import type { Row } from './row.ts'
import { openBench } from './stack.ts'

const PARTS = {
  'cold-start': benchColdStart,
  'event-latency': benchEventLatency,
  generate: benchGenerate,
  'idle-clients': benchIdleClients,
  'image-size': benchImageSize,
} as const

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !(name in PARTS))
if (unknown.length > 0) {
  console.error(`unknown part ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`)
  process.exit(2)
}

const rows: Row[] = []
await using bench = await openBench(process.env.AGENT_CONTAINER_IMAGE ?? 'mgx:latest')
for (const [name, part] of Object.entries(PARTS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  process.stderr.write(`bench: ${name} … `)
  const start = performance.now()
  rows.push(...(await part(bench)))
  process.stderr.write(`${((performance.now() - start) / 1000).toFixed(0)} s\n`)
}
console.log(markdownTable(rows, machineLine()))
if (wanted.length === 0) await saveReport(rows)
const missed = rows.filter((row) => row.meets === false)
if (missed.length > 0) console.error(`\n${missed.length} of ${rows.length} figures miss their target`)
