import { Gauge, type Registry } from '@prometheus-io/client'
import { within } from '#api/within.ts'
import type { RunStore } from '#store/run-store.ts'

/** How long one look at the line does for all who ask, and how long a scrape waits for it, milliseconds. */
const LOOK_MS = 1_000

type Line = { readonly waiting: number; readonly oldest: Date | undefined }

const readLine = async (runs: Pick<RunStore, 'countWaiting' | 'queued'>): Promise<Line> => {
  const [byTenant, [oldest]] = await Promise.all([runs.countWaiting(), runs.queued(1)])
  const waiting = [...byTenant.values()].reduce((sum, n) => sum + n, 0)
  return { waiting, oldest: oldest?.created_at }
}

/** The line as it was a moment ago; `undefined` where the store does not say in time. */
const createLook = (runs: RunStore): (() => Promise<Line | undefined>) => {
  let at = -Infinity
  let latest: Promise<Line | undefined> = Promise.resolve(undefined)
  return () => {
    if (performance.now() - at > LOOK_MS) {
      at = performance.now()
      latest = within(LOOK_MS, readLine(runs)).catch(() => undefined)
    }
    return latest
  }
}

/**
 * The waiting line of the whole installation, the same figures whichever process is asked. While the store is away they are
 * left out: an old figure would have workers started for nothing.
 * @returns whether the store answered, for those who show that
 */
export const measureLine = (registry: Registry, runs: RunStore): (() => Promise<boolean>) => {
  const registers = [registry]
  const look = createLook(runs)
  const show = (name: string, help: string, read: (line: Line) => number): void => {
    const gauge: Gauge = new Gauge({
      name,
      help,
      registers,
      async collect() {
        const line = await look()
        if (line === undefined) gauge.remove()
        else gauge.set(read(line))
      },
    })
  }
  show('mgx_waiting_runs', 'Runs of the installation that wait for a worker.', ({ waiting }) => waiting)
  show('mgx_oldest_waiting_run_seconds', 'How long the oldest of them has waited; 0 when none does.', ({ oldest }) =>
    oldest === undefined ? 0 : Math.max(0, Date.now() - oldest.getTime()) / 1000,
  )
  return async () => (await look()) !== undefined
}
