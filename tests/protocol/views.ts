import type { SessionEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import type { RealWorld } from './real-world.ts'
import type { World } from './world.ts'

const says = (event: SessionEvent): string => {
  const { state, cause } = event.data as { state?: string; cause?: string }
  return [event.event_type, state, cause].filter(Boolean).join(' ')
}

/** What can be seen of a run from outside, in the words of both. */
const viewOf = (run: Run) => ({
  state: run.state,
  attempt: run.attempt,
  lock: run.lock,
  gone: run.container_gone,
  engine: run.engine_id,
  restarts: run.restarts,
  exit: run.exit,
  cause: run.result?.cause,
})

/** The model's world, as it can be compared. */
export const modelView = (w: World) => ({
  runs: Object.fromEntries(Object.entries(w.runs).map(([id, run]) => [id, viewOf(run)])),
  logs: Object.fromEntries(Object.entries(w.logs).map(([id, log]) => [id, log.map(says)])),
  boxes: w.boxes
    .filter(({ listed }) => listed)
    .map(({ id, state, code }) => `${id} ${state === 'exited' ? code : state}`)
    .sort(),
})

/** The real one, in the same words. */
export const realView = async ({ store, engines }: RealWorld, w: World): Promise<ReturnType<typeof modelView>> => {
  const runs: Record<string, ReturnType<typeof viewOf>> = {}
  for (const id of Object.keys(w.runs)) {
    const run = await store.runs.get(id)
    if (run !== undefined) runs[id] = viewOf(run)
  }
  const logs: Record<string, string[]> = {}
  for (const id of Object.keys(w.logs)) {
    const log = await store.events.list(id, { after: 0, limit: 1_000 })
    logs[id] = log.map(says).filter((text) => !/^run_state (starting|running)/.test(text))
  }
  const boxes: string[] = []
  for (const engine of engines.values()) {
    for (const info of await engine.list()) {
      const own = engine.boxes.filter(({ spec }) => spec.run_id === info.run_id)
      const n = own.findIndex(({ containerId }) => containerId === info.containerId) + 1
      const exit = own[n - 1]?.exit
      boxes.push(`${info.run_id}.${n} ${exit?.code ?? (info.started ? 'running' : 'created')}`)
    }
  }
  return { runs, logs, boxes: boxes.sort() }
}
