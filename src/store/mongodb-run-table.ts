import type { Collection, OptionalUnlessRequiredId } from 'mongodb'
import type { Run, Session } from '#contracts/run.ts'
import { createBatcher, type Outcome } from './batcher.ts'
import { duplicatesOf, isOutOfReach } from './mongodb-client.ts'

/** `_id` is the `run_id`. `opens_session`: the first run of its session, by unique index; what it says the session is. */
export type RunDocument = Run & { readonly _id: string; readonly opens_session?: true }

/** `_id` is `<tenant>/<session>`: no id has a slash. */
export type SessionDocument = Session & { readonly _id: string }

export const sessionKey = (tenantId: string, sessionId: string): string => `${tenantId}/${sessionId}`

export const toRun = (document: RunDocument): Run => {
  const { _id, opens_session, ...run } = document
  return run
}

export const toSession = (document: SessionDocument): Session => {
  const { _id, ...session } = document
  return session
}

/** Writes at a time, and documents in one of them. */
const IN_FLIGHT = 2
const MAX_DOCUMENTS = 200

/**
 * Inserts documents one by one for the caller, many at a time for the server: what comes while a write is in flight goes
 * together in the next one. Resolves to false where a unique index refused the document.
 */
export const createInserter = <T extends { readonly _id: string }>(
  collection: Collection<T>,
): ((document: T) => Promise<boolean>) => {
  const write = async (documents: readonly T[]): Promise<Outcome<boolean>[]> => {
    let refused: readonly number[] = []
    try {
      await collection.insertMany(documents as readonly OptionalUnlessRequiredId<T>[], { ordered: false })
    } catch (error) {
      const duplicates = duplicatesOf(error)
      if (duplicates === undefined) throw error
      refused = duplicates
    }
    const bad = new Set(refused)
    return documents.map((_, i) => ({ kind: 'done', value: !bad.has(i) }))
  }
  const tryAlone = (error: unknown) => !isOutOfReach(error)
  return createBatcher({ write, maxItems: MAX_DOCUMENTS, maxInFlight: IN_FLIGHT, tryAlone })
}
