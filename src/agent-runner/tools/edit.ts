import { isUtf8 } from 'node:buffer'
import * as z from 'zod'
import { changedLines, editText } from './edit-text.ts'
import { hashOf, isBinary, plainText, type ReadStamps, readFile, replaceFile } from './files.ts'
import { findPath } from './paths.ts'
import { type AgentTool, errorText, failure, type ToolResult } from './tool.ts'

const Input = z.object({
  path: z.string().describe('file, relative to the workspace'),
  edits: z
    .array(
      z.object({
        old: z.string().describe('text to replace, exactly as it is in the file, without line numbers'),
        new: z.string().describe('text to put there'),
        replace_all: z.boolean().optional().describe('replace every occurrence instead of the only one'),
      }),
    )
    .min(1)
    .max(50),
})
type Input = z.infer<typeof Input>

const edit = async (workspace: string, stamps: ReadStamps, { path, edits }: Input): Promise<ToolResult> => {
  const found = await findPath(workspace, path)
  if ('refused' in found) return failure('path_refused', found.refused)
  const file = await readFile(found.real)
  if ('missing' in file) return failure('not_found', `${found.shown} does not exist; use write to create it`)
  if ('refused' in file) return failure('cannot_read', `cannot edit ${found.shown}: ${file.refused}`)
  if (isBinary(file.bytes) || !isUtf8(file.bytes))
    return failure('binary', `${found.shown} is not a text in UTF-8; change it with bash`)
  const plain = plainText(file.bytes.toString())
  const lineFeeds = edits.map((each) => ({
    ...each,
    old: each.old.replaceAll('\r\n', '\n'),
    new: each.new.replaceAll('\r\n', '\n'),
  }))
  const result = editText(plain.text, plain.crlf ? lineFeeds : edits)
  if ('problem' in result) return failure('no_match', `${found.shown} is unchanged: ${result.problem}`)
  const content = plain.restore(result.text)
  try {
    await replaceFile(found.real, content, file.mode)
  } catch (error) {
    return failure('cannot_write', `cannot write ${found.shown}: ${errorText(error)}`)
  }
  // A file that the model knew it still knows; one that it never read whole it does not.
  if (stamps.get(found.real) === file.hash) stamps.set(found.real, hashOf(content))
  return {
    status: 'ok',
    output: [`Edited ${found.shown}`, ...result.notes, changedLines(plain.text, result.text)].join('\n'),
    changed: { path: found.shown, change: 'modified', bytes: Buffer.byteLength(content) },
  }
}

export const createEditTool = (workspace: string, stamps: ReadStamps): AgentTool<Input> => ({
  description:
    'Replaces texts in a file of the workspace. Each `old` must occur exactly once (or set replace_all); all edits are made, or none.',
  input: Input,
  kind: 'edit',
  risk: 'medium',
  title: ({ path, edits }) => (edits.length === 1 ? `Edit ${path}` : `Edit ${path} (${edits.length} places)`),
  run: (input) => edit(workspace, stamps, input),
})
