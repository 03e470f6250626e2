import type { Store } from '#store/store.ts'
import type { ScriptedProcess } from './scripted-process.ts'

/** A real store as a process sees it that may sleep, die or be cut off at any call. */
export const scriptedStore = (store: Store, process: ScriptedProcess): Store => ({
  events: process.port('events', store.events),
  runs: process.port('runs', store.runs),
  logs: process.port('logs', store.logs),
})
