import { RunnerJob } from '#contracts/job.ts'
import type { SandboxExit } from '#contracts/run.ts'
import type { Claim } from '#scheduler/claims.ts'
import type { SandboxInfo, SandboxSpec } from '#scheduler/engines/engine.ts'
import { exitFrom } from '#scheduler/engines/exit-reason.ts'

/** What a scripted runner knows and can do; it lives inside its container. */
export type RunnerSide = {
  readonly spec: SandboxSpec
  readonly containerId: string
  readonly jobLine: string
  /** The job line, checked against the contract. */
  job(): RunnerJob
  /** Aborts when the runner is told to go; what it does then is its own affair. */
  readonly term: AbortSignal
  /** Aborts when the container is over, however: a runner that acts after this is a bug of the script. */
  readonly killed: AbortSignal
  print(text: string | Uint8Array): void
}

/** Its exit code (none = 0), or `oom`. A rejection is an exit with 1 and its text as output. */
export type ScriptedRunner = (self: RunnerSide) => number | 'oom' | undefined | Promise<number | 'oom' | undefined>

/** A container in memory, and the handles that a test pulls from outside. */
export type ScriptedBox = {
  readonly spec: SandboxSpec
  readonly containerId: string
  info(): SandboxInfo
  readonly output: readonly Uint8Array[]
  /** How it ended; `undefined` while it runs or was not started. */
  readonly exit: SandboxExit | undefined
  /** The line it was given; `undefined`: not started. */
  readonly jobLine: string | undefined
  /** It runs, and waits for its line. */
  boot(): void
  /** A slot becomes a run's: its names, and the workspace that is moved into it. */
  become(names: Partial<SandboxSpec>, claim: Pick<Claim, 'slot' | 'claimed_at'>): void
  start(jobLine: string, runner: ScriptedRunner): void
  print(text: string | Uint8Array): void
  term(): void
  /** Ends it from outside: as a crash, a kernel or an operator would. The first end counts. */
  end(code: number, oom?: boolean): void
}

const KILLED = 137

export const createScriptedBox = (asked: SandboxSpec, containerId: string, onChange: () => void): ScriptedBox => {
  let spec = asked
  let createdAt = new Date()
  let booted = false
  let slot: string | undefined
  const output: Uint8Array[] = []
  const term = new AbortController()
  const killed = new AbortController()
  let exit: SandboxExit | undefined
  let jobLine: string | undefined

  const print = (text: string | Uint8Array): void => {
    if (exit) return
    output.push(typeof text === 'string' ? new TextEncoder().encode(text) : text)
    onChange()
  }
  const end = (code: number, oom = false): void => {
    if (exit) return
    exit = exitFrom(code, oom)
    killed.abort()
    onChange()
  }
  const run = async (line: string, runner: ScriptedRunner): Promise<void> => {
    const job = (): RunnerJob => RunnerJob.parse(JSON.parse(line))
    const self = { spec, containerId, jobLine: line, job, term: term.signal, killed: killed.signal, print }
    try {
      const result = await runner(self)
      if (result === 'oom') end(KILLED, true)
      else end(result ?? 0)
    } catch (error) {
      print(`${error}\n`)
      end(1)
    }
  }

  return {
    get spec() {
      return spec
    },
    containerId,
    output,
    get exit() {
      return exit
    },
    get jobLine() {
      return jobLine
    },
    info: () => ({
      containerId,
      session_id: spec.session_id,
      run_id: spec.run_id,
      workspace_id: spec.workspace_id,
      running: booted && exit === undefined,
      started: booted,
      createdAt,
      ...(slot !== undefined && { slot }),
    }),
    boot() {
      booted = true
    },
    become(names, claim) {
      spec = { ...spec, ...names }
      createdAt = new Date(claim.claimed_at)
      slot = claim.slot
    },
    start(line, runner) {
      booted = true
      jobLine = line
      onChange()
      // Not in this turn: `start` of the engine has returned before the runner acts, as with a real one.
      setImmediate(() => void run(line, runner))
    },
    print,
    term: () => term.abort(),
    end,
  }
}
