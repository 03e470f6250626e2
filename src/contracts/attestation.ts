import * as z from 'zod'

const Value = z.union([z.string(), z.number(), z.boolean()])

/** One thing that was asked for a container, and what kernel or engine say it is. */
export const AttestedCheck = z.object({ name: z.string(), asked: Value, enforced: Value, ok: z.boolean() })
export type AttestedCheck = z.infer<typeof AttestedCheck>

/** `hard`: the file system refuses to write beyond it; `soft`: watched, and the run is ended; `none`: no quota. */
export const QuotaInForce = z.object({
  kind: z.enum(['hard', 'soft', 'none']),
  bytes: z.number().int().optional(),
})
export type QuotaInForce = z.infer<typeof QuotaInForce>

/**
 * What really holds a run's container, read shortly after its start: from the kernel's files on the machine (`host`), from
 * the same files by a command of another user in the container (`exec`), or by nobody, because this engine isolates nothing
 * (`none`). Kept with the run.
 */
export const Attestation = z.object({
  session_id: z.string(),
  run_id: z.string(),
  engine: z.string(),
  container_id: z.string(),
  image: z.string(),
  image_id: z.string().optional(),
  source: z.enum(['host', 'exec', 'none']),
  read_at: z.iso.datetime(),
  /** Every check is. */
  ok: z.boolean(),
  quota: QuotaInForce,
  /** Where commands may connect to, and whether they have no other way out. */
  egress: z.object({ allow: z.union([z.string(), z.array(z.string())]), enforced: z.boolean() }).optional(),
  checks: z.array(AttestedCheck),
})
export type Attestation = z.infer<typeof Attestation>
