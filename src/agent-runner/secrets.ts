/** Keeps known secret values out of everything that leaves the runner. Pure. */
export type Redactor = {
  /** The text without secrets, NUL characters and lone surrogates: safe for any store. */
  clean(text: string): string
  /** The same over a text that comes in pieces: what may be the beginning of a secret waits for the next piece. */
  stream(): TextStream
}

export type TextStream = {
  /** What can be shown now. */
  push(piece: string): string
  /** The rest. */
  end(): string
}

export const REDACTED = '[redacted]'

/** Shorter values are words that may occur anywhere; no real key is as short. */
const MIN_SECRET = 8

const variants = (secret: string): string[] => {
  const bytes = Buffer.from(secret)
  return [
    secret,
    encodeURIComponent(secret),
    bytes.toString('base64').replace(/=+$/, ''),
    bytes.toString('base64url'),
    JSON.stringify(secret).slice(1, -1),
  ]
}

/** How many characters at the end of `text` may be the beginning of `secret`. */
const openEnd = (text: string, secret: string): number => {
  for (let n = Math.min(secret.length - 1, text.length); n > 0; n--) if (text.endsWith(secret.slice(0, n))) return n
  return 0
}

const endsInHighSurrogate = (text: string): boolean => {
  const last = text.charCodeAt(text.length - 1)
  return last >= 0xd800 && last <= 0xdbff
}

export const createRedactor = (values: readonly string[]): Redactor => {
  const secrets = [...new Set(values.filter((value) => value.length >= MIN_SECRET).flatMap(variants))]
  secrets.sort((a, b) => b.length - a.length)

  const redact = (text: string): string => secrets.reduce((all, secret) => all.replaceAll(secret, REDACTED), text)
  const clean = (text: string): string => redact(text).replaceAll('\0', '\uFFFD').toWellFormed()

  const stream = (): TextStream => {
    let held = ''
    return {
      push: (piece) => {
        const text = redact(held + piece)
        const open = Math.max(endsInHighSurrogate(text) ? 1 : 0, ...secrets.map((secret) => openEnd(text, secret)))
        held = text.slice(text.length - open)
        return clean(text.slice(0, text.length - open))
      },
      end: () => {
        const rest = clean(held)
        held = ''
        return rest
      },
    }
  }
  return { clean, stream }
}

/** What of a MongoDB connection string must not be shown: its password, and the whole of it where it has one. */
export const urlSecrets = (url: string): string[] => {
  const password = /^[a-z+]+:\/\/[^:/@]*:([^@]*)@/i.exec(url)?.[1]
  if (password === undefined) return []
  try {
    return [url, password, decodeURIComponent(password)]
  } catch {
    return [url, password]
  }
}
