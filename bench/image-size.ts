import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Findings } from './part.ts'
import { absolute } from './row.ts'
import type { Bench } from './stack.ts'

/** Size of the image as Docker counts it, megabytes. */
export const benchImageSize = async (bench: Bench): Promise<Findings> => {
  const { stdout } = await promisify(execFile)('docker', ['image', 'inspect', '-f', '{{.Size}}', bench.image])
  return { rows: [absolute('image', Number(stdout) / 1e6, 'MB', 600)] }
}
