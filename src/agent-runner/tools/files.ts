import { createHash, randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { chmod, mkdir, open, rename, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { errnoOf, errorText } from './tool.ts'

/** The largest file that the file tools take whole. */
export const FILE_MAX_BYTES = 16 * 1024 * 1024

export type FileState = { readonly bytes: Buffer; readonly mode: number; readonly hash: string }

export type FileResult = FileState | { readonly missing: true } | { readonly refused: string }

export const hashOf = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex')

/** Reads a regular file whose path has been resolved. Does not follow a link that appeared since, nor wait on a pipe. */
export const readFile = async (real: string): Promise<FileResult> => {
  let file: Awaited<ReturnType<typeof open>> | undefined
  try {
    file = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const stat = await file.stat()
    if (stat.isDirectory()) return { refused: 'it is a directory' }
    if (!stat.isFile()) return { refused: 'it is not a regular file' }
    if (stat.size > FILE_MAX_BYTES)
      return { refused: `it has ${stat.size} bytes, more than ${FILE_MAX_BYTES}; look at parts of it with bash` }
    const bytes = await file.readFile()
    return { bytes, mode: stat.mode & 0o7777, hash: hashOf(bytes) }
  } catch (error) {
    const code = errnoOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return { missing: true }
    if (code === undefined) throw error
    return { refused: errorText(error) }
  } finally {
    await file?.close()
  }
}

/** Replaces a file in one step, so that nobody ever sees half of it; makes the directories it needs. Rejects as the file system does. */
export const replaceFile = async (real: string, content: string, mode?: number): Promise<void> => {
  const directory = dirname(real)
  await mkdir(directory, { recursive: true })
  const temporary = join(directory, `.${basename(real).slice(0, 100)}.${randomBytes(6).toString('hex')}`)
  const file = await open(temporary, 'wx', 0o666)
  try {
    await file.writeFile(content)
    await file.close()
    if (mode !== undefined) await chmod(temporary, mode)
    await rename(temporary, real)
  } catch (error) {
    await file.close().catch(() => undefined)
    await unlink(temporary).catch(() => undefined)
    throw error
  }
}

/** What the model has seen of files, by content: times change without it (a formatter, a checkout), content does not. */
export type ReadStamps = {
  set(real: string, hash: string): void
  get(real: string): string | undefined
}

export const createReadStamps = (): ReadStamps => {
  const stamps = new Map<string, string>()
  return { set: (real, hash) => void stamps.set(real, hash), get: (real) => stamps.get(real) }
}

const BOM = '\uFEFF'

/** A text without what editors disagree about, and the way back. */
export type PlainText = {
  readonly text: string
  /** Its lines end in CRLF; `text`'s do not. */
  readonly crlf: boolean
  restore(text: string): string
}

/** Takes byte-order mark and CRLF out of a text; a text that mixes line ends keeps them as they are. */
export const plainText = (content: string): PlainText => {
  const bom = content.startsWith(BOM) ? BOM : ''
  const body = content.slice(bom.length)
  const lines = body.split('\n').length - 1
  const crlf = lines > 0 && body.split('\r\n').length - 1 === lines
  return {
    text: crlf ? body.replaceAll('\r\n', '\n') : body,
    crlf,
    restore: (text) => {
      const plain = bom !== '' && text.startsWith(BOM) ? text.slice(BOM.length) : text
      return bom + (crlf ? plain.replaceAll('\r\n', '\n').replaceAll('\n', '\r\n') : plain)
    },
  }
}

/** A NUL near the beginning: not a text. */
export const isBinary = (bytes: Buffer): boolean => bytes.subarray(0, 8192).includes(0)
