import { createHash } from 'node:crypto'
import type { Run, RunImage } from '#contracts/run.ts'
import type { WorkerConfig } from './worker-context.ts'

/** Where this workspace stands among all, from 0, below 100: the same for ever, and even over many. */
const percentile = ({ tenant_id, workspace_id }: Pick<Run, 'tenant_id' | 'workspace_id'>): number => {
  const hash = createHash('sha256').update(`${tenant_id}/${workspace_id}`).digest()
  return (hash.readUInt32BE(0) / 2 ** 32) * 100
}

/**
 * The image of a run that is taken up for the first time. A workspace keeps its own while the weight stands, and one that has
 * the canary keeps it while the weight grows. Pure.
 */
export const chooseImage = (
  run: Pick<Run, 'tenant_id' | 'workspace_id'>,
  { image, canary }: Pick<WorkerConfig, 'image' | 'canary'>,
): RunImage =>
  canary !== undefined && percentile(run) < canary.weight
    ? { name: canary.image, track: 'canary' }
    : { name: image, track: 'stable' }
