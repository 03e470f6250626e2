import type { Cause } from '#contracts/causes.ts'
import type { SessionEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import type { Frame } from '../../e2e/session-follower.ts'

/** What is known when all is over: the verdict is a function of this and nothing else. */

export type ClientEvidence = {
  readonly name: string
  /** What it put together over all its connections. */
  readonly frames: readonly Frame[]
  /** It was told that no more will come. */
  readonly told: boolean
  /** The answer that ended it, where it was refused. */
  readonly refusal?: string
}

export type RunEvidence = {
  readonly run: Run
  /** Of the prompts that were answered: what this run leaves in its workspace, and how often it is there. */
  readonly worked: number
  readonly clients: readonly ClientEvidence[]
  /** What the API answers, as JSON; `undefined` where it has no result. */
  readonly result: unknown
  /** What the API answers of the container's output. */
  readonly output: string
  /** How it ends by itself, where no fault came between: those of services and workers a run survives. */
  readonly expected?: Cause
  /** A fault took away what only Docker knew of the container: its exit code, or its output. */
  readonly excused: { readonly exit: boolean; readonly output: boolean }
}

export type SessionEvidence = {
  readonly session_id: string
  /** As stored, in the order of `seq`. */
  readonly log: readonly SessionEvent[]
  readonly runs: readonly RunEvidence[]
}

export type Evidence = {
  /** Runs that were answered with 202. */
  readonly accepted: readonly { readonly session_id: string; readonly run_id: string }[]
  readonly sessions: readonly SessionEvidence[]
  /** How far behind its deadline a run may end, milliseconds: graces and outages. */
  readonly graceMs: number
  /** Containers, networks, sockets, directories, locks, jobs that are still there. */
  readonly leftovers: readonly string[]
  /** Processes that ended by themselves, or did not start again or leave. */
  readonly broken: readonly string[]
  /** Prompts that nobody accepted. */
  readonly refused: readonly string[]
}
