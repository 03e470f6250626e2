import { createHash, randomBytes } from 'node:crypto'

/** A run's secret for the gateway: 32 random bytes. Only its hash is stored; the token itself travels in the job line. */
export const newToken = (): string => randomBytes(32).toString('base64url')

/** True for what `newToken` can have made. */
export const isToken = (text: string): boolean => /^[\w-]{43}$/.test(text)

/** SHA-256, hex: what the run document keeps of a token. */
export const tokenHash = (token: string): string => createHash('sha256').update(token).digest('hex')
