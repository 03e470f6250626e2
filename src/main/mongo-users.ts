import { type Db, MongoServerError } from 'mongodb'

/** Codes of MongoDB: https://www.mongodb.com/docs/manual/reference/error-codes/ */
const CODES = { userNotFound: 11, roleNotFound: 31 }

/** True for an error that the server answered with one of these codes. */
export const isCode = (error: unknown, ...codes: number[]): boolean =>
  error instanceof MongoServerError && codes.includes(Number(error.code))

type User = { readonly name: string; readonly pwd: string; readonly roles: readonly object[] }

const putUser = async (admin: Db, { name, pwd, roles }: User): Promise<void> => {
  try {
    await admin.command({ updateUser: name, pwd, roles })
  } catch (error) {
    if (!isCode(error, CODES.userNotFound)) throw error
    await admin.command({ createUser: name, pwd, roles })
  }
}

/** An agent may read and add events: enough to write its log in order, and nothing it could change or take away. */
const putAgentRole = async (admin: Db, db: string): Promise<void> => {
  const privileges = [{ resource: { db, collection: 'events' }, actions: ['find', 'insert'] }]
  try {
    await admin.command({ updateRole: 'mgxAgent', privileges, roles: [] })
  } catch (error) {
    if (!isCode(error, CODES.roleNotFound)) throw error
    await admin.command({ createRole: 'mgxAgent', privileges, roles: [] })
  }
}

/** What the users of this database are called. */
export const MONGO_USERS = { services: 'mgx', agents: 'mgx-agent' } as const

/** Without a password for the agents there is no user for them: only the direct channel needs one. */
export type MongoPasswords = { readonly services: string; readonly agents?: string }

/**
 * The user of our services, and the one that agents get in the direct channel, with the rights that each needs. May be done
 * again at any time: the passwords are then changed to these. `admin` is the database of that name, as its administrator.
 */
export const putUsers = async (admin: Db, database: string, passwords: MongoPasswords): Promise<void> => {
  const own = ['readWrite', 'dbAdmin'].map((role) => ({ role, db: database }))
  await putUser(admin, { name: MONGO_USERS.services, pwd: passwords.services, roles: own })
  if (passwords.agents === undefined) return
  await putAgentRole(admin, database)
  const may = [{ role: 'mgxAgent', db: 'admin' }]
  await putUser(admin, { name: MONGO_USERS.agents, pwd: passwords.agents, roles: may })
}
