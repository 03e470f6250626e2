import * as z from 'zod'
import { hashOf, plainText, type ReadStamps, readFile, replaceFile } from './files.ts'
import { type FoundPath, findPath } from './paths.ts'
import { type AgentTool, errorText, failure, type ToolResult } from './tool.ts'

const Input = z.object({
  path: z.string().describe('file, relative to the workspace; directories are made as needed'),
  content: z.string().describe('the whole new content'),
})
type Input = z.infer<typeof Input>

/** Words by which a model leaves out what it was to write: `// ... rest of the code unchanged`. */
const PLACEHOLDER =
  /^\s*(?:\/\/|#|<!--|\/\*)\s*(?:\.\.\.|…).{0,60}\b(?:rest|remaining|existing|unchanged|previous)\b|^\s*(?:\/\/|#|<!--|\/\*)\s*(?:rest|remainder) of (?:the )?(?:code|file|content)s?\b.{0,40}\b(?:unchanged|same|here)\b/im

export const hasPlaceholder = (content: string): boolean => PLACEHOLDER.test(content)

const bytesOf = (text: string): string => {
  const bytes = Buffer.byteLength(text)
  return bytes < 1000 ? `${bytes} B` : `${(bytes / 1000).toFixed(1)} kB`
}

const store = async (found: FoundPath, content: string, mode: number | undefined): Promise<ToolResult | undefined> => {
  try {
    await replaceFile(found.real, content, mode)
    return undefined
  } catch (error) {
    return failure('cannot_write', `cannot write ${found.shown}: ${errorText(error)}`)
  }
}

const write = async (workspace: string, stamps: ReadStamps, input: Input): Promise<ToolResult> => {
  const found = await findPath(workspace, input.path)
  if ('refused' in found) return failure('path_refused', found.refused)
  const file = await readFile(found.real)
  if ('refused' in file) return failure('cannot_write', `cannot write ${found.shown}: ${file.refused}`)
  const exists = !('missing' in file)
  if (exists && stamps.get(found.real) !== file.hash) {
    const why = stamps.get(found.real) === undefined ? 'you have not read it' : 'it has changed since you saw it'
    return failure('not_read', `${found.shown} exists and ${why}: read it first, or use edit for a small change`)
  }
  // A new file is written as it was given; an old one keeps its byte-order mark and its line ends.
  const content = exists ? plainText(file.bytes.toString()).restore(input.content) : input.content
  const failed = await store(found, content, exists ? file.mode : undefined)
  if (failed !== undefined) return failed
  stamps.set(found.real, hashOf(content))
  const warning = hasPlaceholder(content)
    ? '\nWarning: a comment in it says that the rest is unchanged. The file now contains exactly what you sent: if something is missing, write it whole.'
    : ''
  return {
    status: 'ok',
    output: `${exists ? 'Replaced' : 'Created'} ${found.shown} (${bytesOf(content)})${warning}`,
    changed: { path: found.shown, change: exists ? 'modified' : 'added', bytes: Buffer.byteLength(content) },
  }
}

export const createWriteTool = (workspace: string, stamps: ReadStamps): AgentTool<Input> => ({
  description:
    'Writes a whole file in the workspace. A file that exists must have been read before. For small changes use edit.',
  input: Input,
  kind: 'edit',
  risk: 'medium',
  title: ({ path, content }) => `Write ${path} (${bytesOf(content)})`,
  run: (input) => write(workspace, stamps, input),
})
