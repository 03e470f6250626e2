import type { Collection } from 'mongodb'
import type { Session } from '#contracts/run.ts'
import { sessionOf } from './accept-rules.ts'
import { createLru } from './lru.ts'
import { createInserter, type RunDocument, type SessionDocument, sessionKey, toSession } from './mongodb-run-table.ts'
import type { Page } from './run-store.ts'

const MAX_KNOWN = 10_000

export type MongoSessions = {
  /** From memory only: a session never changes its workspace or framework. */
  known(tenantId: string, sessionId: string): Session | undefined
  get(tenantId: string, sessionId: string): Promise<Session | undefined>
  add(session: Session): Promise<void>
  list(tenantId: string, page: Page): Promise<Session[]>
}

/** Sessions as light documents. What counts is the run that opened one: a document that a crash left out is made from it. */
export const createMongoSessions = (
  sessions: Collection<SessionDocument>,
  runs: Collection<RunDocument>,
): MongoSessions => {
  const memory = createLru<string, Session>(MAX_KNOWN)
  const insert = createInserter(sessions)
  const add = async (session: Session) => {
    const _id = sessionKey(session.tenant_id, session.session_id)
    await insert({ _id, ...session })
    memory.set(_id, session)
  }
  const find = async (tenantId: string, sessionId: string): Promise<Session | undefined> => {
    const document = await sessions.findOne({ _id: sessionKey(tenantId, sessionId) })
    if (document !== null) return toSession(document)
    const opener = await runs.findOne({ tenant_id: tenantId, session_id: sessionId, opens_session: true })
    if (opener === null) return undefined
    const session = sessionOf(opener)
    await add(session)
    return session
  }
  return {
    known: (tenantId, sessionId) => memory.get(sessionKey(tenantId, sessionId)),
    async get(tenantId, sessionId) {
      const session = await find(tenantId, sessionId)
      if (session !== undefined) memory.set(sessionKey(tenantId, sessionId), session)
      return session
    },
    add,
    async list(tenantId, { limit, before }) {
      const from = before === undefined ? undefined : await find(tenantId, before)
      if (before !== undefined && from === undefined) return []
      const older = from && {
        $or: [
          { created_at: { $lt: from.created_at } },
          { created_at: from.created_at, session_id: { $lt: from.session_id } },
        ],
      }
      const found = sessions.find({ tenant_id: tenantId, ...older }).sort({ created_at: -1, session_id: -1 })
      return (await found.limit(limit).toArray()).map(toSession)
    },
  }
}
