import { setTimeout as sleep } from 'node:timers/promises'
import type { GatewayRun } from '#contracts/run.ts'
import { createLru } from '#store/lru.ts'
import type { RunStore } from '#store/run-store.ts'
import type { Served } from './gateway-served.ts'

/** Milliseconds. */
export type LookTimings = {
  /** How long a run that ended elsewhere, or has another token, goes on being served here. */
  readonly look: number
  /** For how long a token that no run has is not looked for again. A runner's token is stored before it starts. */
  readonly unknown: number
}

const LOOK_TIMINGS: LookTimings = { look: 5_000, unknown: 5_000 }

const MAX_UNKNOWN = 10_000

/** Tokens that the store is asked for at once: whoever guesses gets no more of it. */
const MAX_ASKED = 64

/** Thrown when it cannot be said just now whose a token is. */
export class TokenUnclear extends Error {
  constructor(options?: ErrorOptions) {
    super('the store cannot be asked just now whose token this is', options)
    this.name = 'TokenUnclear'
  }
}

/**
 * The runs that are served on the shared port: every live run of the installation whose runner comes here, whoever owns it.
 * What is remembered is a copy of the store's, looked at again every few seconds.
 */
export type GatewayRuns = AsyncDisposable & {
  /** Whose token has this hash; `undefined` = no live run's. Throws `TokenUnclear`. */
  find(hash: string): Promise<Served | undefined>
  /** The owner's hint: saves its runner the first look. Disposing it looks whether the run is over. */
  serve(run: GatewayRun): AsyncDisposable
}

type Deps = {
  readonly runs: Pick<RunStore, 'ofTokens'>
  readonly open: (run: GatewayRun) => Served
  readonly onError: (error: unknown) => void
  readonly timings?: Partial<LookTimings>
}

export const createGatewayRuns = ({ runs, open, onError, timings = {} }: Deps): GatewayRuns => {
  const { look: lookMs, unknown: unknownMs } = { ...LOOK_TIMINGS, ...timings }
  const known = new Map<string, Served>()
  const unknown = createLru<string, number>(MAX_UNKNOWN)
  const asking = new Map<string, Promise<Served | undefined>>()
  const over = new AbortController()

  const keep = (run: GatewayRun): Served => {
    const fresh = open(run)
    const served = known.get(fresh.hash) ?? fresh
    known.set(served.hash, served)
    unknown.delete(served.hash)
    return served
  }

  const drop = (served: Served): void => {
    if (known.get(served.hash) === served) known.delete(served.hash)
    served.end()
  }

  const ask = async (hash: string): Promise<Served | undefined> => {
    try {
      const [run] = await runs.ofTokens([hash])
      if (run !== undefined && !over.signal.aborted) return keep(run)
      unknown.set(hash, Date.now() + unknownMs)
      return undefined
    } catch (cause) {
      throw new TokenUnclear({ cause })
    }
  }

  const askOnce = (hash: string): Promise<Served | undefined> => {
    const asked = asking.get(hash) ?? ask(hash).finally(() => void asking.delete(hash))
    asking.set(hash, asked)
    return asked
  }

  /** Ends what the store knows no longer. A store that is away ends nothing: no run ends without it. */
  const look = async (hashes: readonly string[]): Promise<void> => {
    const before = hashes.flatMap((hash) => known.get(hash) ?? [])
    const live = new Set((await runs.ofTokens(hashes)).map((run) => run.token_hash))
    for (const served of before) if (!live.has(served.hash)) drop(served)
  }

  const watch = async (): Promise<void> => {
    while (!over.signal.aborted) {
      await sleep(lookMs, undefined, { signal: over.signal, ref: false })
      if (known.size > 0) await look([...known.keys()]).catch(onError)
    }
  }
  watch().catch(() => undefined)

  return {
    find: async (hash) => {
      const served = known.get(hash)
      if (served !== undefined) return served
      if ((unknown.get(hash) ?? 0) > Date.now()) return undefined
      if (!asking.has(hash) && asking.size >= MAX_ASKED) throw new TokenUnclear()
      return askOnce(hash)
    },
    serve: (run) => {
      const { hash } = keep(run)
      return {
        // Nobody waits for it: the store may be away.
        async [Symbol.asyncDispose]() {
          if (!over.signal.aborted) look([hash]).catch(onError)
        },
      }
    },
    async [Symbol.asyncDispose]() {
      over.abort()
      for (const served of [...known.values()]) drop(served)
    },
  }
}
