import { openDocker } from '../services/docker.ts'
import { testImage } from '../services/image.ts'
import { probeDocker, probeHardQuota } from './docker.ts'
import { probeMongo } from './mongodb.ts'
import { probeProcess } from './process.ts'
import { type Row, tableOf } from './table.ts'
import { openProbedServer } from './world.ts'

/** `make isolation`: one table for each engine and for MongoDB; exit code 1 on any gap, or where one could not be tried. */

type Part = readonly [title: string, rows: () => Promise<readonly Row[] | { readonly skip: string }>]

const docker = async () => {
  const found = await openDocker()
  if ('skip' in found) return { skip: found.skip ?? 'no Docker' }
  await using stack = new AsyncDisposableStack()
  const image = await testImage()
  return [...(await probeDocker(await openProbedServer(stack, image))), ...(await probeHardQuota(stack, image))]
}

const PARTS: readonly Part[] = [
  ['docker: an agent in its container', docker],
  ['process: this engine isolates nothing, whatever was asked', probeProcess],
  ["MongoDB: the agents' user (direct channel)", () => probeMongo()],
]

for (const [title, probe] of PARTS) {
  const rows = await probe()
  if ('skip' in rows) {
    console.log(`${title}: NOT TRIED: ${rows.skip}\n`)
    process.exitCode = 1
    continue
  }
  console.log(tableOf(title, rows))
  if (rows.some(({ ok }) => !ok)) process.exitCode = 1
}
