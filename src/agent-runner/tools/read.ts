import { readdir } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import * as z from 'zod'
import { headBytes } from '../text-size.ts'
import { isBinary, plainText, type ReadStamps, readFile } from './files.ts'
import { type FoundPath, findPath } from './paths.ts'
import { type AgentTool, failure, type ToolResult } from './tool.ts'

const MAX_LINES = 2_000
const MAX_LINE_CHARS = 2_000
const MAX_BYTES = 50 * 1024
const MAX_ENTRIES = 200

const Input = z.object({
  path: z.string().describe('file or directory, relative to the workspace'),
  offset: z.int().min(1).optional().describe('first line to show, from 1'),
  limit: z.int().min(1).max(MAX_LINES).optional().describe(`lines to show, at most ${MAX_LINES}`),
})
type Input = z.infer<typeof Input>

const ok = (output: string): ToolResult => ({ status: 'ok', output })

const listDirectory = async ({ real, shown }: FoundPath): Promise<ToolResult> => {
  const entries = await readdir(real, { withFileTypes: true })
  const names = entries.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name)).sort()
  const more = names.length > MAX_ENTRIES ? [`… and ${names.length - MAX_ENTRIES} more; use bash (ls, find)`] : []
  if (names.length === 0) return ok(`${shown} is an empty directory`)
  return ok([`${shown} is a directory:`, ...names.slice(0, MAX_ENTRIES), ...more].join('\n'))
}

/** Names in the same directory that one may have meant. */
const similarNames = async (real: string): Promise<string[]> => {
  const wanted = basename(real).toLowerCase()
  const stem = wanted.replace(/\.[^.]*$/, '')
  const names = await readdir(dirname(real)).catch(() => [])
  return names.filter((name) => name.toLowerCase().includes(stem) || wanted.includes(name.toLowerCase())).slice(0, 5)
}

const shorten = (line: string): string =>
  line.length > MAX_LINE_CHARS ? `${line.slice(0, MAX_LINE_CHARS).toWellFormed()}… (${line.length} characters)` : line

/** Lines with their numbers, as many as fit. Pure. */
export const numberedLines = (text: string, offset: number, limit: number): string => {
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  if (lines.length === 0) return '(the file is empty)'
  if (offset > lines.length) return `(the file has ${lines.length} lines; offset ${offset} is behind its end)`
  const wanted = lines.slice(offset - 1, offset - 1 + limit)
  const shown: string[] = []
  let bytes = 0
  for (const [i, line] of wanted.entries()) {
    const numbered = `${offset + i}: ${shorten(line)}`
    bytes += Buffer.byteLength(numbered) + 1
    if (bytes > MAX_BYTES && shown.length > 0) break
    shown.push(headBytes(numbered, MAX_BYTES))
  }
  const next = offset + shown.length
  if (next <= lines.length) shown.push(`(${lines.length} lines in all; use offset=${next} to continue)`)
  return shown.join('\n')
}

const read = async (workspace: string, stamps: ReadStamps, { path, offset, limit }: Input): Promise<ToolResult> => {
  const found = await findPath(workspace, path)
  if ('refused' in found) return failure('path_refused', found.refused)
  const file = await readFile(found.real)
  if ('missing' in file) {
    const similar = await similarNames(found.real)
    const hint = similar.length === 0 ? '' : `; did you mean ${similar.join(', ')}?`
    return failure('not_found', `${found.shown} does not exist${hint}`)
  }
  if ('refused' in file) {
    if (file.refused === 'it is a directory') return listDirectory(found)
    return failure('cannot_read', `cannot read ${found.shown}: ${file.refused}`)
  }
  if (isBinary(file.bytes))
    return failure('binary', `${found.shown} is a binary file of ${file.bytes.length} bytes; look at it with bash`)
  stamps.set(found.real, file.hash)
  return ok(numberedLines(plainText(file.bytes.toString()).text, offset ?? 1, limit ?? MAX_LINES))
}

export const createReadTool = (workspace: string, stamps: ReadStamps): AgentTool<Input> => ({
  description:
    'Reads a text file of the workspace, with line numbers (`N: text`; the number is not part of the file), or lists a directory. Long files come in parts: use offset and limit.',
  input: Input,
  kind: 'read',
  risk: 'low',
  title: ({ path }) => `Read ${path}`,
  run: (input) => read(workspace, stamps, input),
})
