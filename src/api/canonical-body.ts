import { createHash } from 'node:crypto'
import { MgxError } from '#contracts/errors.ts'

/** Deeper than this a store may refuse a document (MongoDB: 100 levels, some of them ours). */
const MAX_DEPTH = 64

const refuse = (rule: string, path: string): never => {
  throw new MgxError('INVALID_REQUEST', 'The body cannot be stored as it is.', `body${path.slice(0, 200)}: ${rule}`)
}

/** Half a surrogate pair is no character in UTF-8: what is stored would differ from what was sent. */
const checkText = (text: string, path: string): void => {
  if (!text.isWellFormed()) refuse('text must be valid Unicode, without lone surrogates', path)
}

const checkKey = (key: string, path: string): void => {
  checkText(key, path)
  if (key.includes('\0')) refuse('names must not contain the character U+0000', path)
}

const canonical = (value: unknown, path: string, depth: number): unknown => {
  if (typeof value === 'string') checkText(value, path)
  if (value === null || typeof value !== 'object') return value
  if (depth > MAX_DEPTH) return refuse(`it is nested deeper than ${MAX_DEPTH} levels`, path)
  if (Array.isArray(value)) return value.map((member, n) => canonical(member, `${path}/${n}`, depth + 1))
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => {
        checkKey(key, path)
        return [key, canonical(member, `${path}/${key}`, depth + 1)]
      }),
  )
}

/**
 * SHA-256 of a body, hex; spelling, spaces and the order of keys do not count.
 * Throws INVALID_REQUEST for what JSON allows and a store does not.
 */
export const bodyHash = (body: unknown): string =>
  createHash('sha256')
    .update(JSON.stringify(canonical(body, '', 0)))
    .digest('hex')
