import {
  MongoBulkWriteError,
  MongoClient,
  MongoError,
  MongoNetworkError,
  MongoNotConnectedError,
  MongoServerError,
  MongoServerSelectionError,
  MongoTopologyClosedError,
} from 'mongodb'
import { MgxError } from '#contracts/errors.ts'

/** Told of what goes wrong and mends itself. */
export type StoreLog = { warn(details: object, message: string): void }

/** How long an operation waits for a server that is not there, milliseconds. */
const SELECT_MS = 5000

/** How long it waits for an answer on an open connection: a server that hangs, not one that is busy. */
const ANSWER_MS = 20_000

/** How often the driver looks at a server. One that hangs is given up this long and {@link SELECT_MS} after. */
const HEARTBEAT_MS = 2000

/**
 * Everything is read from the primary and only what a majority has, and written to a majority: what one writer was told
 * is there stays there, over a change of the primary too. Await `connect` before the first operation, and again until it
 * has succeeded once: the driver does not come back by itself from a first connection that failed.
 */
export const createClient = (url: string): MongoClient =>
  new MongoClient(url, {
    appName: 'mgx',
    ignoreUndefined: true,
    readConcern: { level: 'majority' },
    readPreference: 'primary',
    writeConcern: { w: 'majority', wtimeoutMS: 10_000 },
    retryReads: true,
    retryWrites: true,
    serverSelectionTimeoutMS: SELECT_MS,
    connectTimeoutMS: SELECT_MS,
    heartbeatFrequencyMS: HEARTBEAT_MS,
    socketTimeoutMS: ANSWER_MS,
    waitQueueTimeoutMS: ANSWER_MS,
    maxPoolSize: 20,
  })

// `WriteConcernTimeout`, https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
const WRITE_CONCERN_TIMEOUT = 64

/** What a batch met on the way, such as a broken connection, is wrapped as if the server had said it. */
const unwrap = (error: unknown): unknown =>
  error instanceof MongoBulkWriteError && error.errorResponse instanceof Error ? error.errorResponse : error

// A write on a connection that the server has just closed: the driver (7.8) lets the socket's own error through.
const SOCKET_CODES = new Set(['EPIPE', 'ECONNRESET', 'ECONNREFUSED', 'ETIMEDOUT', 'ERR_STREAM_DESTROYED'])

const isSocketError = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && SOCKET_CODES.has(String(error.code))

/** True where the server, not what was asked of it, is the reason: the same may work later. */
export const isOutOfReach = (thrown: unknown): boolean => {
  const error = unwrap(thrown)
  return (
    error instanceof MongoNetworkError ||
    error instanceof MongoServerSelectionError ||
    error instanceof MongoNotConnectedError ||
    error instanceof MongoTopologyClosedError ||
    isSocketError(error) ||
    (error instanceof MongoServerError && error.code === WRITE_CONCERN_TIMEOUT) ||
    (error instanceof MongoError && error.hasErrorLabel('RetryableWriteError'))
  )
}

/** Remembers a success and tries again after a failure; those who ask meanwhile share one attempt. */
export const untilDone = (work: () => Promise<unknown>): (() => Promise<unknown>) => {
  let attempt: Promise<unknown> | undefined
  return () => {
    attempt ??= work().catch((error: unknown) => {
      attempt = undefined
      throw error
    })
    return attempt
  }
}

/** Calls `work`; where MongoDB cannot be reached the error says so as `UNAVAILABLE`. */
export const reachMongo = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work()
  } catch (error) {
    if (error instanceof MgxError || !isOutOfReach(error)) throw error
    const unavailable = new MgxError('UNAVAILABLE', 'MongoDB cannot be reached.', (error as Error).message)
    unavailable.cause = error
    throw unavailable
  }
}

/** `DuplicateKey` of the server. */
const DUPLICATE = 11_000

export const isDuplicate = (error: unknown): boolean => error instanceof MongoServerError && error.code === DUPLICATE

/**
 * The documents of a batch that a unique index refused, by their place in it.
 * @returns `undefined` when the error is about something else, or about something else as well
 */
export const duplicatesOf = (error: unknown): readonly number[] | undefined => {
  if (!(error instanceof MongoBulkWriteError) || error.result.getWriteConcernError() !== undefined) return undefined
  const errors = [error.writeErrors].flat()
  return errors.length > 0 && errors.every((one) => one.code === DUPLICATE) ? errors.map((one) => one.index) : undefined
}
