/** Why a run starts cold, a closed list; docs/operations.md says what to do about each. */
export const WARM_MISSES = [
  /** No pool here: WARM_POOL_SIZE=0, or an engine without one. */
  'pool_off',
  /** Every slot is taken, or none is ready yet. */
  'pool_empty',
  /** The worker is shutting down. */
  'pool_draining',
  /** The image, or what containers are started with, is not what the slot was started with. */
  'image_changed',
  /** Slots are of the stable image, and this run's is the canary one. */
  'canary',
  /** The workspace cannot be moved into a slot: a link, a file, a mount point, another file system or owner. */
  'workspace_elsewhere',
  /** Another container of this session or workspace is still there. */
  'workspace_busy',
  /** The run was taken up before: by a worker that died, or in a container that got no job line. */
  'taken_up_again',
  /** The slot was there, and did not do. */
  'handoff_failed',
] as const

export type WarmMiss = (typeof WARM_MISSES)[number]
