/**
 * Container labels. mgx acts on containers that carry its own installation's label only, never on names:
 * two installations may share a Docker daemon.
 */
export const LABELS = {
  managed: 'dev.mgx.managed',
  installation: 'dev.mgx.installation',
  session: 'dev.mgx.session',
  run: 'dev.mgx.run',
  workspace: 'dev.mgx.workspace',
  role: 'dev.mgx.role',
  /** A container started ahead, before there was a run for it. Labels cannot change: its claim says whose it became. */
  slot: 'dev.mgx.slot',
  expiresAt: 'dev.mgx.expires-at',
} as const

export type SandboxRole = 'agent' | 'warm' | 'dev' | 'prod'
