import Dockerode from 'dockerode'
import type { Skip } from './daemon.ts'

const PING_MS = 5000

/** The daemon of `DOCKER_HOST` or of the usual socket. `node tests/run.ts` has started one if it could. */
export const openDocker = async (): Promise<{ docker: Dockerode } | Skip> => {
  const where = process.env.DOCKER_HOST || '/var/run/docker.sock'
  try {
    await new Dockerode({ timeout: PING_MS }).ping()
    return { docker: new Dockerode() }
  } catch (error) {
    const why = process.env.MGX_TEST_NO_DOCKER || String(error instanceof Error ? error.message : error)
    return { skip: `Docker: no daemon answers at ${where} (${why})` }
  }
}
