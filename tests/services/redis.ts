import { Redis } from 'ioredis'
import { freePort } from '../helpers.ts'
import { type Daemon, type Skip, startDaemon } from './daemon.ts'
import { findOrInstall } from './machine.ts'

export type RedisOptions = {
  /** A server of this test's own, which it may kill, pause, restart and flush. Default: the run's shared one, where there is one. */
  readonly own?: boolean
  /** Append-only file, written on every command: `restart` and even `kill` keep the data. Implies `own`. */
  readonly persist?: boolean
  /** Addresses to listen on beside 127.0.0.1: implies `own`. */
  readonly alsoBind?: readonly string[]
}

export type RedisService = Omit<Daemon, 'pid'> & { readonly url: string; readonly port: number }

const fixed = (url: string, name: string): RedisService => {
  const refuse = () => {
    throw new Error(`this Redis comes from ${name}; ask for startRedis({ own: true }) to kill, pause or restart it`)
  }
  return {
    url,
    port: Number(new URL(url).port || 6379),
    kill: async () => refuse(),
    pause: async () => refuse(),
    resume: refuse,
    restart: async () => refuse(),
    dir: '',
    [Symbol.asyncDispose]: async () => {},
  }
}

const argsOf = (port: number, options: RedisOptions) => (dir: string) => {
  const args = ['--port', String(port), '--dir', dir, '--daemonize', 'no', '--protected-mode', 'no']
  args.push('--bind', '127.0.0.1', ...(options.alsoBind ?? []), '--save', '', '--maxmemory-policy', 'noeviction')
  args.push('--appendonly', options.persist ? 'yes' : 'no', '--appendfsync', 'always')
  return args
}

const answers = (url: string) => async () => {
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 })
  redis.on('error', () => {})
  try {
    await redis.connect()
    return (await redis.ping()) === 'PONG'
  } finally {
    redis.disconnect()
  }
}

const startOwn = async (command: string, options: RedisOptions): Promise<RedisService> => {
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  const daemon = await startDaemon({ name: 'redis', command, args: argsOf(port, options), ready: answers(url) })
  return Object.assign(daemon, { url, port })
}

/**
 * Redis for a test: `REDIS_URL` (only that one then, and nothing is started), the run's shared server, or a server of the
 * test's own. Use a key prefix of your own; FLUSHALL only on your own server.
 */
export const startRedis = async (options: RedisOptions = {}): Promise<RedisService | Skip> => {
  const own = options.own || options.persist || options.alsoBind !== undefined
  const given = process.env.REDIS_URL
  if (given) {
    return own ? { skip: 'needs a Redis of its own, and REDIS_URL says to start none' } : fixed(given, 'REDIS_URL')
  }
  const shared = process.env.MGX_TEST_REDIS_URL
  if (shared && !own) return fixed(shared, 'the test run')
  const found = await findOrInstall('redis-server', ['redis-server'])
  return 'why' in found ? { skip: `Redis: ${found.why}` } : startOwn(found.path, options)
}
