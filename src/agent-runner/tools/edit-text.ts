/** Replaces texts exactly. Pure. */

export type Edit = { readonly old: string; readonly new: string; readonly replace_all?: boolean | undefined }

export type EditResult = { readonly text: string; readonly notes: readonly string[] } | { readonly problem: string }

const countOf = (text: string, part: string): number => text.split(part).length - 1

/** Line numbers (from 0) at which the lines of `part`, trimmed, stand in `lines`. */
const trimmedMatches = (lines: readonly string[], part: readonly string[]): number[] => {
  const wanted = part.map((line) => line.trim())
  const starts: number[] = []
  for (let at = 0; at + wanted.length <= lines.length; at++)
    if (wanted.every((line, i) => lines[at + i]?.trim() === line)) starts.push(at)
  return starts
}

/** Whole lines that differ only in the space around them, if there is exactly one such place. */
const editTrimmed = (text: string, { old, new: replacement }: Edit): string | number => {
  const lines = text.split('\n')
  const part = old.replace(/\n$/, '').split('\n')
  const starts = trimmedMatches(lines, part)
  const [start] = starts
  if (start === undefined || starts.length > 1) return starts.length
  const inserted = old.endsWith('\n') ? replacement.replace(/\n$/, '') : replacement
  return [...lines.slice(0, start), inserted, ...lines.slice(start + part.length)].join('\n')
}

const editOnce = (text: string, edit: Edit): { text: string; note?: string } | { problem: string } => {
  const { old } = edit
  if (old.trim() === '') return { problem: '`old` is empty or only space: give the text to replace' }
  if (old === edit.new) return { problem: '`old` and `new` are the same' }
  const count = countOf(text, old)
  // Split and join: `replace` would read `$&` and its like in the new text.
  if (count === 1 || (count > 1 && edit.replace_all === true)) return { text: text.split(old).join(edit.new) }
  if (count > 1) return { problem: `\`old\` occurs ${count} times: give more of its surroundings, or set replace_all` }
  const trimmed = editTrimmed(text, edit)
  if (typeof trimmed === 'string')
    return { text: trimmed, note: '`old` matched only apart from the space around its lines' }
  const places = trimmed === 0 ? '' : ` (apart from the space around its lines it occurs ${trimmed} times)`
  return { problem: `\`old\` occurs 0 times${places}: read the file again and copy the text exactly` }
}

/** All edits, one after the other, or none: the first that does not fit is the problem, with its number and the count found. */
export const editText = (text: string, edits: readonly Edit[]): EditResult => {
  const notes: string[] = []
  let result = text
  for (const [i, edit] of edits.entries()) {
    const done = editOnce(result, edit)
    const which = edits.length === 1 ? '' : `edit ${i + 1} of ${edits.length}: `
    if ('problem' in done) return { problem: `${which}${done.problem}` }
    if (done.note !== undefined) notes.push(`${which}${done.note}`)
    result = done.text
  }
  return { text: result, notes }
}

/** The lines that changed, with their numbers: from the first difference to the last. */
export const changedLines = (before: string, after: string, maxLines = 60): string => {
  const a = before.split('\n')
  const b = after.split('\n')
  let head = 0
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1
  let tail = 0
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1
  const removed = a.slice(head, a.length - tail).map((line) => `-${line}`)
  const added = b.slice(head, b.length - tail).map((line) => `+${line}`)
  const lines = [...removed, ...added]
  const more = lines.length > maxLines ? [`… ${lines.length - maxLines} more lines`] : []
  return [`@@ line ${head + 1} @@`, ...lines.slice(0, maxLines), ...more].join('\n')
}
