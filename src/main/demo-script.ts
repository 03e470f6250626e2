import { CHECK, indexHtml, MARKER, SCRIPT_JS, STYLE_CSS, wish } from './demo-page.ts'

/** What of a chat request the script goes by. */
export type DemoMessage = { readonly role: string; readonly content: unknown }

export type DemoToolCall = { readonly name: string; readonly arguments: string }

/** What the demo model says next; without tool calls its turn is over. */
export type DemoReply = { readonly content: string; readonly toolCalls: readonly DemoToolCall[] }

const call = (name: string, input: Record<string, unknown>): DemoToolCall => ({
  name,
  arguments: JSON.stringify(input),
})

const say = (content: string, ...toolCalls: DemoToolCall[]): DemoReply => ({ content, toolCalls })

const textOf = (content: unknown): string => {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content.map((part: { text?: unknown }) => (typeof part.text === 'string' ? part.text : '')).join('')
}

/** The turn so far: what was asked, and what came back. */
type Turn = { readonly prompt: string; readonly results: readonly string[]; readonly step: number }

const currentTurn = (messages: readonly DemoMessage[]): Turn => {
  const start = messages.findLastIndex((message) => message.role === 'user')
  const since = messages.slice(start + 1)
  return {
    prompt: textOf(messages[start]?.content),
    results: since.filter((message) => message.role === 'tool').map((message) => textOf(message.content)),
    step: since.filter((message) => message.role === 'assistant').length,
  }
}

const look = (): DemoReply =>
  say('I look at what is there before I change anything.', call('bash', { command: 'ls -la' }))

/** A new page: three files, a check that finds a fault, the repair, the check again. */
const BUILD: readonly ((turn: Turn) => DemoReply)[] = [
  look,
  ({ prompt }) =>
    say(
      'There is no page here yet. I write one in three files: the page itself, its style, and a little script.',
      call('write', { path: 'index.html', content: indexHtml(prompt) }),
      call('write', { path: 'style.css', content: STYLE_CSS }),
      call('write', { path: 'script.js', content: SCRIPT_JS }),
    ),
  () =>
    say(
      'Now I check my work: does the script parse, do the files find each other, does the page say its language?',
      call('bash', { command: CHECK }),
    ),
  () =>
    say(
      'The check found a fault of mine: screen readers would not know the language of the page. I correct that.',
      call('edit', { path: 'index.html', edits: [{ old: '<html>', new: '<html lang="en">' }] }),
    ),
  () => say('And the same check once more.', call('bash', { command: CHECK })),
  () =>
    say(
      'The page is ready. index.html greets whoever opens it and shows what you asked for, style.css gives it a day and a night ' +
        'side, script.js runs the clock and the switch. Open index.html in a browser, or send another prompt to this session: ' +
        'I will find the page and add to it.',
    ),
]

/** The page is there: read it, add the new wish to it, check. */
const EXTEND: readonly ((turn: Turn) => DemoReply)[] = [
  look,
  () => say('The page is here already. I read it before I change it.', call('read', { path: 'index.html' })),
  ({ prompt, results }) =>
    results.at(-1)?.includes(MARKER) === true
      ? say(
          'This is the page I know. I add the new wish to its list.',
          call('edit', {
            path: 'index.html',
            edits: [{ old: MARKER, new: `<li>${wish(prompt)}</li>\n      ${MARKER}` }],
          }),
        )
      : say(
          'This page is not one of mine, so I leave it as it is and put a note beside it.',
          call('bash', { command: "echo 'The demo model only knows its own page.' >> demo-notes.txt" }),
        ),
  () => say('A last look at the files.', call('bash', { command: 'grep -c "<li>" index.html; ls' })),
  () => say('Done. Reload index.html to see the change.'),
]

/**
 * The scripted demo model: what it answers depends only on the messages, so the same job always goes the same way. It counts
 * its own answers since the last prompt, and goes by the first listing to know whether the page exists. Pure.
 */
export const demoReply = (messages: readonly DemoMessage[]): DemoReply => {
  const turn = currentTurn(messages)
  const script = turn.results[0]?.includes('index.html') === true ? EXTEND : BUILD
  return script[turn.step]?.(turn) ?? say('There is nothing left to do.')
}
