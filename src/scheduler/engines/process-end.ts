import { setTimeout as sleep } from 'node:timers/promises'
import { EngineError } from './engine.ts'
import { type Box, type BoxState, type Processes, stateOf } from './process-state.ts'
import { descendants, type ProcessId, signalProcess } from './process-table.ts'

const POLL_MS = 20

/** After KILL only a process stuck in the kernel is still there. */
const KILL_MS = 10_000

const untilOver = async (box: Box, ms: number): Promise<BoxState> => {
  for (const end = Date.now() + ms; ; await sleep(POLL_MS)) {
    const state = await stateOf(box)
    if (state.kind !== 'running' || Date.now() >= end) return state
  }
}

const killAll = async (family: readonly ProcessId[]): Promise<void> => {
  await Promise.all(family.map((member) => signalProcess(member, 'SIGKILL')))
}

/** Group of the runner, and what it had started in groups of its own (its tools do), each known by number and start time. */
const endFamily = async (box: Box, { runner }: Processes, graceMs: number): Promise<BoxState> => {
  const family = await descendants(runner.pid)
  if (graceMs > 0) {
    await signalProcess(runner, 'SIGTERM', true)
    await untilOver(box, graceMs)
  }
  family.push(...(await descendants(runner.pid)))
  await signalProcess(runner, 'SIGKILL', true)
  await killAll(family)
  return untilOver(box, KILL_MS)
}

/** TERM, grace, KILL; resolves when nothing runs any more. */
export const endProcesses = async (box: Box, graceMs: number): Promise<void> => {
  const state = await stateOf(box)
  if (state.kind !== 'running') return
  const after = await endFamily(box, state.processes, graceMs)
  if (after.kind === 'running') {
    const { pid } = after.processes.runner
    throw new EngineError('engine_unavailable', `the runner (process ${pid}) does not end`, 'See what it waits for.')
  }
}
