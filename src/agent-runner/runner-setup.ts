import type { RUNNER_EXIT, RunnerJob } from '#contracts/job.ts'
import type { RunImage } from '#contracts/run.ts'
import type { RetryLimits } from './loop.ts'
import type { StepTimeouts } from './model-step.ts'
import type { SinkTimings } from './patient-sink.ts'
import type { EventSink } from './sinks/event-sink.ts'

/** The names of the exit codes: their numbers are in the job contract, which loads zod. */
export type ExitName = keyof typeof RUNNER_EXIT

/** Everything one run needs, made by main. */
export type RunnerSetup = {
  readonly job: RunnerJob
  /** The job as it came, for the check that follows `agent_start`. */
  readonly rawJob: unknown
  readonly sink: EventSink
  /** A worker watches this run and writes its `finish` where the runner does not. Without one (by hand) the runner always does. */
  readonly hasWorker: boolean
  readonly workspace: string
  /** The environment of commands: see `commandEnv`. */
  readonly commandEnv: Readonly<Record<string, string>>
  /** Values that no event, file or line may show. */
  readonly secrets: readonly string[]
  /** The runner's own environment holds secrets: commands are refused where they could read it. */
  readonly envHoldsSecrets: boolean
  readonly inContainer: boolean
  /** Aborts when the process is told to end. */
  readonly terminated: AbortSignal
  /** A line for people who read the container's output. */
  readonly say: (line: string) => void
  readonly complain: (line: string) => void
  readonly version: string
  /** What this container is made of, where a worker has said so. */
  readonly image?: RunImage
  /** Shorter ones for tests. */
  readonly timings?: {
    readonly sink?: Partial<SinkTimings>
    readonly step?: Partial<StepTimeouts>
    readonly retry?: Partial<RetryLimits>
  }
}
