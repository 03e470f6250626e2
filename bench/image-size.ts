import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { absolute, type Row } from './row.ts'
import type { Bench } from './stack.ts'

/** Size of the image as Docker counts it, megabytes. */
export const benchImageSize = async (bench: Bench): Promise<Row[]> => {
  const { stdout } = await promisify(execFile)('docker', ['image', 'inspect', '-f', '{{.Size}}', bench.image])
  return [absolute('image', Number(stdout) / 1e6, 'MB', 600)]
}
