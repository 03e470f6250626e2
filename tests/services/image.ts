import { spawn } from 'node:child_process'
import { ROOT } from '../runner/imports.ts'

/** The image that tests run: the tree as it is now. */
export const TEST_IMAGE = process.env.MGX_TEST_TAG || 'mgx:test'

/**
 * Builds {@link TEST_IMAGE} unless it is what the tree says; the script compares a hash of what goes into it. Needs a Docker
 * daemon. Rejects when the build fails; the reason is on stderr.
 */
export const ensureImage = async (): Promise<string> => {
  const env = { ...process.env, AGENT_CONTAINER_IMAGE: TEST_IMAGE }
  const build = spawn('sh', ['scripts/build-agent.sh'], { cwd: ROOT, env, stdio: ['ignore', 2, 2] })
  const code = await new Promise((resolve, reject) => build.once('error', reject).once('exit', resolve))
  if (code !== 0) throw new Error(`scripts/build-agent.sh ended with ${code}; what it said is above`)
  return TEST_IMAGE
}

/** The image for a test: what the run's set-up made, else made now. Rejects with the reason when there is none. */
export const testImage = async (): Promise<string> => {
  const failed = process.env.MGX_TEST_IMAGE_ERROR
  if (failed) throw new Error(`the set-up could not build ${TEST_IMAGE}: ${failed}`)
  return process.env.MGX_TEST_IMAGE || ensureImage()
}
