import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openDocker } from '../services/docker.ts'
import { ensureImage } from '../services/image.ts'
import { startMongo } from '../services/mongodb.ts'
import { startRedis } from '../services/redis.ts'
import { ROOT } from './imports.ts'
import type { Needs } from './needs.ts'

export type Environment = Record<string, string>

const say = (text: string) => console.log(`set-up: ${text}`)

const startShared = async (stack: AsyncDisposableStack, needs: Needs, env: Environment): Promise<void> => {
  if (needs.mongodb) {
    const mongo = await startMongo()
    if ('skip' in mongo) say(`NO MONGODB: ${mongo.skip}. Its tests are skipped`)
    else {
      env.MGX_TEST_MONGODB_URL = stack.use(mongo).url
      say('MongoDB answers')
    }
  }
  if (needs.redis) {
    const redis = await startRedis()
    if ('skip' in redis) say(`NO REDIS: ${redis.skip}. Its tests are skipped`)
    else {
      env.MGX_TEST_REDIS_URL = stack.use(redis).url
      say('Redis answers')
    }
  }
}

const PID_FILE = join(ROOT, '.cache/dockerd.pid')

const startedPid = (): number => {
  try {
    return Number(readFileSync(PID_FILE, 'utf8'))
  } catch {
    return 0
  }
}

/** The last line that the script said, without who says it. */
const reasonIn = (said: string) => (said.trim().split('\n').at(-1) ?? '').replace(/^\[mgx\] no Docker: |\.$/g, '')

const endDaemon = (pid: number) => {
  try {
    process.kill(pid, 'SIGTERM')
  } catch {
    // It ended before us.
  }
}

const runDockerScript = () =>
  new Promise<string | undefined>((resolve) => {
    const script = spawn('sh', ['scripts/docker.sh'], { cwd: ROOT, stdio: ['ignore', 2, 'pipe'] })
    let said = ''
    script.stderr?.on('data', (chunk: Buffer) => {
      said += chunk
      process.stderr.write(chunk)
    })
    script.once('error', (error) => resolve(error.message))
    script.once('exit', (code) => resolve(code === 0 ? undefined : reasonIn(said)))
  })

// A daemon that was there before stays; one that systemd was asked to start stays too, and the script says how to stop it.
const startDocker = async (stack: AsyncDisposableStack, env: Environment): Promise<boolean> => {
  if (!('skip' in (await openDocker()))) return true
  const before = startedPid()
  const why = await runDockerScript()
  const pid = startedPid()
  if (pid > 0 && pid !== before) stack.defer(() => endDaemon(pid))
  if (why === undefined) return true
  env.MGX_TEST_NO_DOCKER = why
  say(`NO DOCKER: ${why}. Its tests are skipped`)
  return false
}

const makeImage = async (env: Environment): Promise<void> => {
  say('the image of the tree as it is')
  try {
    env.MGX_TEST_IMAGE = await ensureImage()
  } catch (error) {
    env.MGX_TEST_IMAGE_ERROR = error instanceof Error ? error.message : String(error)
    say(`THE IMAGE COULD NOT BE BUILT: ${env.MGX_TEST_IMAGE_ERROR}. Tests that need it fail`)
  }
}

/** Starts what the files need, once for all of them. The result is what their processes find in their environment. */
export const setUp = async (stack: AsyncDisposableStack, needs: Needs): Promise<Environment> => {
  const env: Environment = {}
  // Even a test process that was killed leaves nothing: all temporary directories are in this one.
  const dir = mkdtempSync(join(tmpdir(), 'mgx-'))
  stack.defer(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))
  await startShared(stack, needs, env)
  if (needs.docker && (await startDocker(stack, env)) && needs.image) await makeImage(env)
  return { ...env, TMPDIR: dir }
}
