import { Redis } from 'ioredis'
import { hostOf } from './redis.ts'

/** What a Redis says of itself, as far as a queue depends on it. */
export type RedisFacts = {
  readonly version: string
  /** `noeviction`: it refuses to write when it is full, rather than forget a job. */
  readonly evictionPolicy: string
  readonly appendOnlyFile: boolean
  /** Its clock. */
  readonly now: Date
}

const CONNECT_MS = 5_000

const fieldOf = (info: string, name: string): string => new RegExp(`^${name}:(.*)$`, 'm').exec(info)?.[1]?.trim() ?? ''

/** Asks a Redis about itself, with a connection of its own. Rejects where it cannot be reached. */
export const readRedisFacts = async (url: string): Promise<RedisFacts> => {
  const client = new Redis(url, {
    lazyConnect: true,
    maxRetriesPerRequest: 0,
    connectTimeout: CONNECT_MS,
    commandTimeout: CONNECT_MS,
    retryStrategy: () => null,
  })
  let trouble: unknown
  client.on('error', (error: unknown) => {
    trouble = error
  })
  try {
    await client.connect()
    const [seconds, micros] = await client.time()
    const info = await client.info()
    return {
      version: fieldOf(info, 'redis_version'),
      evictionPolicy: fieldOf(info, 'maxmemory_policy'),
      appendOnlyFile: fieldOf(info, 'aof_enabled') === '1',
      now: new Date(Number(seconds) * 1000 + Number(micros) / 1000),
    }
  } catch (error) {
    throw new Error(`Redis cannot be asked at ${hostOf(url)}: ${String((trouble as Error)?.message ?? error)}`, {
      cause: error,
    })
  } finally {
    client.disconnect()
  }
}
