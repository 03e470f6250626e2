import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MongoClient, MongoServerError } from 'mongodb'
import { freePort } from '../helpers.ts'
import { type Daemon, type Skip, startDaemon } from './daemon.ts'
import { findMongod } from './mongod-binary.ts'

export type MongoOptions = {
  /** A server of this test's own, which it may kill, pause and restart. Default: the run's shared one, where there is one. */
  readonly own?: boolean
  /** keyFile and a root user: implies `own`. */
  readonly auth?: boolean
  /** Addresses to listen on beside 127.0.0.1, such as the Docker bridge's: implies `own`. Containers need `directConnection=true`. */
  readonly alsoBind?: readonly string[]
}

export type MongoService = Omit<Daemon, 'pid'> & {
  /** With replicaSet (so transactions, change streams and majority work); with the root user where `auth` was asked for. */
  readonly url: string
  readonly port: number
  /** The URL for another user, or for another host name of this server. */
  urlFor(options: { user?: string; password?: string; host?: string; direct?: boolean }): string
}

const ROOT = { user: 'root', password: 'test-root' }

const fixed = (url: string, name: string): MongoService => {
  const refuse = () => {
    throw new Error(`this MongoDB comes from ${name}; ask for startMongo({ own: true }) to kill, pause or restart it`)
  }
  return {
    url,
    port: Number(new URL(url).port || 27017),
    urlFor: refuse,
    kill: async () => refuse(),
    pause: async () => refuse(),
    resume: refuse,
    restart: async () => refuse(),
    dir: '',
    [Symbol.asyncDispose]: async () => {},
  }
}

const argsOf = (port: number, options: MongoOptions) => (dir: string) => {
  mkdirSync(join(dir, 'db'))
  const args = ['--port', String(port), '--dbpath', join(dir, 'db'), '--replSet', 'rs0', '--nounixsocket', '--quiet']
  args.push('--bind_ip', ['127.0.0.1', ...(options.alsoBind ?? [])].join(','))
  args.push('--wiredTigerCacheSizeGB', '0.25', '--oplogSize', '128')
  args.push('--setParameter', 'diagnosticDataCollectionEnabled=false', '--setParameter', 'ttlMonitorSleepSecs=1')
  if (options.auth) {
    writeFileSync(join(dir, 'key'), Buffer.from('a key of the tests, for one server').toString('base64'))
    chmodSync(join(dir, 'key'), 0o400)
    args.push('--keyFile', join(dir, 'key'))
  }
  return args
}

const withClient = async <T>(url: string, work: (client: MongoClient) => Promise<T>): Promise<T> => {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 1000, directConnection: true })
  try {
    return await work(client)
  } finally {
    await client.close()
  }
}

const isPrimary = (url: string, port: number) => () =>
  withClient(url, async (client) => {
    const admin = client.db('admin')
    try {
      const hello = await admin.command({ hello: 1 })
      if (hello.isWritablePrimary === true) return true
      if (hello.setName !== undefined) return false
      await admin.command({ replSetInitiate: { _id: 'rs0', members: [{ _id: 0, host: `127.0.0.1:${port}` }] } })
    } catch (error) {
      // A second initiate, while the first is being carried out.
      if (!(error instanceof MongoServerError)) throw error
    }
    return false
  })

// No user exists yet, so the server lets a local client make the first one ("localhost exception").
const createRoot = (url: string) =>
  withClient(url, (client) =>
    client.db('admin').command({ createUser: ROOT.user, pwd: ROOT.password, roles: ['root'] }),
  )

const startOwn = async (command: string, options: MongoOptions): Promise<MongoService> => {
  const port = await freePort()
  const urlFor: MongoService['urlFor'] = ({ user, password, host = '127.0.0.1', direct = false }) => {
    const login = user === undefined ? '' : `${encodeURIComponent(user)}:${encodeURIComponent(password ?? '')}@`
    const auth = user === undefined ? '' : '&authSource=admin'
    return `mongodb://${login}${host}:${port}/?${direct ? 'directConnection=true' : 'replicaSet=rs0'}${auth}`
  }
  const bare = urlFor({ direct: true })
  const daemon = await startDaemon({
    name: 'mongod',
    command,
    args: argsOf(port, options),
    ready: isPrimary(bare, port),
  })
  try {
    if (options.auth) await createRoot(bare)
  } catch (error) {
    await daemon[Symbol.asyncDispose]()
    throw error
  }
  return Object.assign(daemon, { url: urlFor(options.auth ? ROOT : {}), port, urlFor })
}

/**
 * MongoDB for a test: `MONGODB_URL` (only that one then, and nothing is started), the run's shared server, or a server of
 * the test's own. Use a database name of your own, and drop it after.
 */
export const startMongo = async (options: MongoOptions = {}): Promise<MongoService | Skip> => {
  const own = options.own || options.auth || options.alsoBind !== undefined
  const given = process.env.MONGODB_URL
  if (given) {
    return own
      ? { skip: 'needs a MongoDB of its own, and MONGODB_URL says to start none' }
      : fixed(given, 'MONGODB_URL')
  }
  const shared = process.env.MGX_TEST_MONGODB_URL
  if (shared && !own) return fixed(shared, 'the test run')
  const found = await findMongod()
  return 'why' in found ? { skip: `MongoDB: ${found.why}` } : startOwn(found.path, options)
}
