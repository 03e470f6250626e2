import { setTimeout as sleep } from 'node:timers/promises'
import { Redis, type RedisOptions } from 'ioredis'
import type { Logger } from 'pino'

/** Milliseconds after which a producer's call on a Redis that does not answer rejects. */
const ANSWER_MS = 1_500

/** Longest pause between two attempts to connect, milliseconds. */
const RECONNECT_MS = 2_000

/** Milliseconds without a byte after which a worker takes its connection for dead; above the longest blocking read (10 s). */
const SILENCE_MS = 30_000

const backOff = (times: number) => Math.min(times * 100, RECONNECT_MS)

/** Where a Redis is, without its password. */
export const hostOf = (url: string): string => {
  const { hostname, port } = new URL(url)
  return `${hostname}:${port || 6379}`
}

/** The same complaint, which a dead Redis causes many times a second, is logged once a minute. */
export const createComplaint = (log: Logger | undefined, url: string): ((error: unknown) => void) => {
  const said = new Map<string, number>()
  return (error) => {
    const text = error instanceof Error ? error.message.replace(/[0-9a-f-]{36}/g, '*') : String(error)
    if (Date.now() - (said.get(text) ?? 0) < 60_000) return
    said.set(text, Date.now())
    log?.warn({ err: error, redis: hostOf(url) }, 'trouble with Redis')
  }
}

/** For short calls: they reject while Redis is away, instead of waiting for it. */
export const connectProducer = (url: string, onError: (error: unknown) => void): Redis => {
  const client = new Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    connectTimeout: ANSWER_MS,
    commandTimeout: ANSWER_MS,
    retryStrategy: backOff,
  })
  return client.on('error', onError)
}

const untilConnected = (client: Redis): Promise<boolean> =>
  new Promise((resolve) => {
    const settle = () => {
      clearTimeout(timer)
      client.off('ready', settle).off('close', settle)
      resolve(client.status === 'ready')
    }
    const timer = setTimeout(settle, ANSWER_MS)
    client.on('ready', settle).on('close', settle)
  })

/** Rejects when there is no connection: at once, or after the first attempt where that is still under way. */
export const mustBeConnected = async (client: Redis, url: string): Promise<void> => {
  if (client.status === 'ready') return
  const isComing = client.status === 'connecting' || client.status === 'connect'
  if (isComing && (await untilConnected(client))) return
  throw new Error(`Redis cannot be reached at ${hostOf(url)}: start it, or correct REDIS_URL`)
}

/** The connections of one BullMQ worker: its own and the one it blocks on. They come back for ever, until `end`. */
export type WorkerClients = { readonly main: Redis; end(): Promise<void> }

export const connectWorker = (url: string, onError: (error: unknown) => void): WorkerClients => {
  let ended = false
  const clients: Redis[] = []
  const track = (client: Redis) => {
    clients.push(client.on('error', onError))
    return client
  }
  const main = track(
    new Redis(url, {
      maxRetriesPerRequest: null,
      socketTimeout: SILENCE_MS,
      retryStrategy: (times) => (ended ? null : backOff(times)),
    }),
  )
  // BullMQ makes its blocking connection from this one, and has no way to end it while Redis is away.
  const duplicate = main.duplicate.bind(main)
  main.duplicate = (override?: Partial<RedisOptions>) => track(duplicate(override ?? {}))
  return {
    main,
    async end() {
      ended = true
      for (let tries = 0; tries < 50 && clients.some((client) => client.status !== 'end'); tries++) {
        for (const client of clients) {
          // A client between two attempts has no socket to close: one more attempt, which fails or is closed, ends it.
          if (client.status === 'reconnecting') client.connect().catch(() => {})
          else if (client.status !== 'end') client.disconnect()
        }
        await sleep(100)
      }
    },
  }
}
