import { setTimeout as sleep } from 'node:timers/promises'
import { type Db, MongoClient } from 'mongodb'
import { isCode, putUsers } from './mongo-users.ts'

/**
 * A one-shot service of docker-compose.yml and of infra/kubernetes: makes MongoDB's replica set of one, the user of our services and,
 * where it has a password, the user of the agents, and ends when there is a primary. May be run again at any time: it also changes
 * the passwords to what the environment says. Runs beside mongod (same network namespace), because only there may the first user be
 * made.
 */

const SEED = 'mongodb://127.0.0.1:27017/?directConnection=true'
/** What the members call each other, and so what every client is told to connect to. */
const MEMBER = 'mongodb:27017'
const PRIMARY_WITHIN_MS = 60_000

/** Codes of MongoDB: https://www.mongodb.com/docs/manual/reference/error-codes/ */
const CODES = { unauthorized: 13, authenticationFailed: 18, alreadyInitialized: 23 }

const required = (name: string): string => {
  const value = process.env[name]
  if (value === undefined || value === '') {
    process.stderr.write(`mongo-init: ${name} must be set; make up and scripts/kubernetes-secrets.sh make it\n`)
    process.exit(78)
  }
  return value
}

const initiate = async (admin: Db): Promise<void> => {
  try {
    await admin.command({ replSetInitiate: { _id: 'rs0', members: [{ _id: 0, host: MEMBER }] } })
  } catch (error) {
    // Unauthorized: there are users already, and so there is a replica set.
    if (!isCode(error, CODES.alreadyInitialized, CODES.unauthorized)) throw error
  }
}

const untilPrimary = async (admin: Db): Promise<void> => {
  const deadline = Date.now() + PRIMARY_WITHIN_MS
  while (!(await admin.command({ hello: 1 })).isWritablePrimary) {
    if (Date.now() > deadline) throw new Error(`no primary within ${PRIMARY_WITHIN_MS / 1000} s`)
    await sleep(100)
  }
}

const createRoot = async (admin: Db, password: string): Promise<void> => {
  try {
    await admin.command({ createUser: 'root', pwd: password, roles: ['root'] })
  } catch (error) {
    // MongoDB lets a stranger make the first user only: then this is not the first start.
    if (!isCode(error, CODES.unauthorized)) throw error
  }
}

const asRoot = async (password: string, work: (admin: Db) => Promise<void>): Promise<void> => {
  await using client = new MongoClient(SEED, { auth: { username: 'root', password } })
  try {
    await work(client.db('admin'))
  } catch (error) {
    if (!isCode(error, CODES.authenticationFailed)) throw error
    throw new Error(
      'MongoDB does not know the password MONGO_ROOT_PASSWORD: its data was made with another one. Bring back the file that had ' +
        'it (.env; of Kubernetes secrets/databases.env), or throw the data away (docker volume rm <project>_mongodb; its claim)',
    )
  }
}

const database = process.env.MONGODB_DB || 'mgx'
const rootPassword = required('MONGO_ROOT_PASSWORD')
const agents = process.env.MONGO_AGENTS_PASSWORD
const passwords = { services: required('MONGO_SERVICES_PASSWORD'), ...(agents && { agents }) }
const users = agents ? 'users mgx and mgx-agent' : 'user mgx'

try {
  await using stranger = new MongoClient(SEED)
  const admin = stranger.db('admin')
  await initiate(admin)
  await untilPrimary(admin)
  await createRoot(admin, rootPassword)
  await asRoot(rootPassword, (known) => putUsers(known, database, passwords))
  process.stdout.write(`mongo-init: replica set rs0 has a primary; ${users} may use "${database}"\n`)
} catch (error) {
  process.stderr.write(`mongo-init: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
