import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const exec = promisify(execFile)

/**
 * Brings an image of the Docker daemon to the nodes of the test cluster, by MGX_TEST_KUBERNETES_LOAD: a command that is
 * given the path of an archive (`kind load image-archive`). Without it the nodes must have the image already.
 */
export const loadImage = async (image: string): Promise<string> => {
  const command = process.env.MGX_TEST_KUBERNETES_LOAD
  if (!command) return image
  const dir = await mkdtemp(join(tmpdir(), 'mgx-image-'))
  try {
    const archive = join(dir, 'image.tar')
    await exec('docker', ['save', '-o', archive, image])
    await exec('sh', ['-c', `${command} "$1"`, 'load', archive])
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
  return image
}
