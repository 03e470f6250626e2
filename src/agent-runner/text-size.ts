/** Cuts text to a size without splitting a character. Pure. */

const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80

const isHighSurrogate = (text: string, index: number): boolean => {
  const code = text.charCodeAt(index)
  return code >= 0xd800 && code <= 0xdbff
}

/** The first characters of `text` that fit into `maxBytes` of UTF-8. */
export const headBytes = (text: string, maxBytes: number): string => {
  if (text.length * 3 <= maxBytes) return text
  const bytes = Buffer.from(text)
  if (bytes.length <= maxBytes) return text
  let end = maxBytes
  while (isContinuation(bytes[end])) end -= 1
  return bytes.toString('utf8', 0, end)
}

/** The last characters of `text` that fit into `maxBytes` of UTF-8. */
export const tailBytes = (text: string, maxBytes: number): string => {
  const bytes = Buffer.from(text)
  if (bytes.length <= maxBytes) return text
  let start = bytes.length - maxBytes
  while (isContinuation(bytes[start])) start += 1
  return bytes.toString('utf8', start)
}

/** Of a long text the beginning and the end matter; the end (results, errors) more. */
const HEAD_SHARE = 0.4

/** Room for the line that says what was left out. */
const MARK_BYTES = 60

const mark = (count: number, unit: string): string => `\n… ${count} ${unit} left out …\n`

/** At most `maxBytes` of UTF-8 (at least 100): the text itself, or its head, a line that says how much is missing, its tail. */
export const headTailBytes = (text: string, maxBytes: number): string => {
  if (text.length * 3 <= maxBytes) return text
  const size = Buffer.byteLength(text)
  if (size <= maxBytes) return text
  const room = maxBytes - MARK_BYTES
  const head = headBytes(text, Math.floor(room * HEAD_SHARE))
  const tail = tailBytes(text, room - Buffer.byteLength(head))
  return `${head}${mark(size - Buffer.byteLength(head) - Buffer.byteLength(tail), 'bytes')}${tail}`
}

/** As `headTailBytes`, in UTF-16 units: what a model is given. The mark comes on top of `maxChars`. */
export const headTailChars = (text: string, maxChars: number): string => {
  if (text.length <= maxChars) return text
  let head = Math.floor(maxChars * HEAD_SHARE)
  if (isHighSurrogate(text, head - 1)) head -= 1
  let tail = text.length - (maxChars - head)
  if (isHighSurrogate(text, tail - 1)) tail += 1
  return `${text.slice(0, head)}${mark(tail - head, 'characters')}${text.slice(tail)}`
}
