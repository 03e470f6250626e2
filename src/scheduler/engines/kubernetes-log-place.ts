/** What a node puts before each line when it is asked for time stamps: RFC 3339 with nine digits, and a space. */
const STAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|[+-]\d\d:\d\d)$/
const LONGEST_STAMP = 35

/**
 * How much earlier than a line the next one may be stamped: the two outputs are written by two hands (a millisecond apart was seen).
 * More than that is a clock that was set back in the very moment of a cut: what came then is lost.
 */
const DISORDER_MS = 2_000

const SPACE = 0x20
const NEWLINE = 0x0a

/** Put where output is missing. */
export const ROTATED = '[mgx] output is missing here: its node rotated it away while nobody could read it\n'

/** Where to begin when a stream broke: at the second of this time, as servers look at no more; from the first byte when absent. */
export type Resume = { readonly sinceTime?: string }

/**
 * A reader's place in the output of a container, which is read with time stamps; they are taken out. When a stream broke, the next
 * one begins (`resume`) at the second of the line that had the latest stamp, and what is known of it is skipped by the byte.
 */
export type LogPlace = {
  /** The part of what came that is new, without stamps. */
  take(chunk: Uint8Array): Uint8Array
  resume(): Resume
}

/** The line with the latest stamp so far: of several the first. */
type Anchor = {
  readonly stamp: string
  /** Bytes handed out before it. */
  readonly at: number
  /** The earliest stamp from it on: both outputs of a container write at once, and clocks are set. */
  since: string
}

type Skip =
  /** Up to the line of that stamp. */
  { readonly stamp: string; readonly bytes: number } | { bytes: number }

/** Stamps stand after every line end and nowhere else; what does not look like one is output (a node's own words). */
export const createLogPlace = (): LogPlace => {
  let total = 0
  let anchor: Anchor | undefined
  /** What came of a line that may still be in its stamp. */
  let head: Buffer | undefined = Buffer.alloc(0)
  let skip: Skip = { bytes: 0 }
  let endsLine = true

  /** A line begins. @returns what is to be said before it: no output, and not counted */
  const begin = (stamp: string): Buffer | undefined => {
    if ('stamp' in skip) {
      if (stamp < skip.stamp) return undefined
      const isLost = stamp > skip.stamp
      skip = { bytes: isLost ? 0 : skip.bytes }
      if (!isLost) return undefined
      anchor = { stamp, at: total, since: stamp }
      return Buffer.from(endsLine ? ROTATED : `\n${ROTATED}`)
    }
    if (skip.bytes > 0) return undefined
    if (anchor === undefined || stamp > anchor.stamp) anchor = { stamp, at: total, since: stamp }
    else if (stamp < anchor.since) anchor.since = stamp
    return undefined
  }
  const fresh = (bytes: Buffer): Buffer => {
    if ('stamp' in skip) return bytes.subarray(bytes.length)
    const known = Math.min(skip.bytes, bytes.length)
    skip.bytes -= known
    return bytes.subarray(known)
  }

  return {
    take(chunk) {
      const parts: Buffer[] = []
      const give = (bytes: Buffer) => {
        if (bytes.length === 0) return
        parts.push(bytes)
        total += bytes.length
        endsLine = bytes.at(-1) === NEWLINE
      }
      let rest =
        head === undefined ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length) : Buffer.concat([head, chunk])
      while (rest.length > 0) {
        if (head !== undefined) {
          const end = rest.subarray(0, LONGEST_STAMP + 1).indexOf(SPACE)
          if (end < 0 && rest.length <= LONGEST_STAMP && !rest.includes(NEWLINE)) break
          const stamp = rest.toString('latin1', 0, Math.max(end, 0))
          head = undefined
          if (STAMP.test(stamp)) {
            const before = begin(stamp)
            if (before) parts.push(before)
            rest = rest.subarray(end + 1)
          }
        }
        const end = rest.indexOf(NEWLINE)
        give(fresh(end < 0 ? rest : rest.subarray(0, end + 1)))
        rest = end < 0 ? rest.subarray(rest.length) : rest.subarray(end + 1)
        if (end >= 0) head = Buffer.alloc(0)
      }
      if (head !== undefined) head = Buffer.from(rest)
      return Buffer.concat(parts)
    },
    resume() {
      head = Buffer.alloc(0)
      if (anchor === undefined) {
        skip = { bytes: total }
        return {}
      }
      skip = { stamp: anchor.stamp, bytes: total - anchor.at }
      return { sinceTime: new Date(Date.parse(anchor.since) - DISORDER_MS).toISOString() }
    },
  }
}
