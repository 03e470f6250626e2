import type { WorkerConfig } from './worker-context.ts'

/** As many as it was told, or fewer where their containers would not fit into its memory; one at least. */
export const placesOf = ({ concurrency, memoryBytes = Infinity, limits }: WorkerConfig): number =>
  Math.max(1, Math.min(concurrency, Math.floor(memoryBytes / limits.memoryBytes)))
