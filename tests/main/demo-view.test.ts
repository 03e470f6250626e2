import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type EventData, type EventType, makeEvent, type SessionEvent } from '#contracts/events.ts'
import { cells, clip, plain, wrap } from '#main/demo-text.ts'
import { createDemoView } from '#main/demo-view.ts'

const RUN = { tenant_id: 'default', session_id: 's', run_id: 'r', workspace_id: 's' }
const START = Date.parse('2026-11-21T10:00:00Z')

let seq = 0
const event = <T extends EventType>(type: T, data: EventData[T], afterMs = 0): SessionEvent => {
  seq += 1
  return { ...makeEvent(RUN, `r:${seq}`, type, data), seq, timestamp: new Date(START + afterMs) } as SessionEvent
}

const delta = (text: string, index: number) =>
  event('message_delta', { message_id: 'm', index, kind: 'text', delta: text })

const complete = (content: string, more: Partial<EventData['message_complete']> = {}) =>
  event('message_complete', {
    message_id: 'm',
    role: 'assistant',
    content,
    tool_calls: [],
    finish_reason: 'stop',
    deltas: 1,
    model: 'x',
    ...more,
  })

const toolStart = (id: string, title: string) =>
  event('tool_start', {
    tool_call_id: id,
    message_id: 'm',
    tool_name: 'bash',
    kind: 'execute',
    title,
    input: {},
    risk: 'low',
    attempt: 1,
  })

const toolEnd = (id: string, more: Partial<EventData['tool_end']> = {}) =>
  event('tool_end', {
    tool_call_id: id,
    tool_name: 'bash',
    status: 'ok',
    output: '',
    output_bytes: 0,
    duration_ms: 40,
    last_in_batch: true,
    ...more,
  })

const userMessage = event('user_message', { message_id: 'u', content: 'Make a page', source: 'client' })
const finish = (status: 'success' | 'failed', more: Partial<EventData['finish']> = {}) =>
  event(
    'finish',
    { status, cause: status === 'success' ? 'completed' : 'agent_error', synthetic: false, ...more },
    12_300,
  )

const render = (events: readonly SessionEvent[], options = {}) => {
  const view = createDemoView({ columns: 60, color: false, live: false, ...options })
  return events.map((each) => view.show(each)).join('')
}

describe('what a run looks like', () => {
  test('text that comes in pieces is one paragraph, broken at words', () => {
    const text = 'I look at what is there before I change anything, because that is how one works.'
    const pieces = text.match(/.{1,7}/g) ?? []
    const out = render([...pieces.map(delta), complete(text)])
    assert.equal(out, `\n${wrap(text, 60, '  ')}`)
    assert.ok(out.split('\n').every((line) => line.length < 60))
  })

  test('text that was never shown in pieces is shown whole', () => {
    assert.equal(render([complete('Hello there.')]), '\n  Hello there.\n')
  })

  test('a tool says what it did, how it came out and how long it took', () => {
    const out = render([
      toolStart('a', 'Write index.html (812 B)'),
      toolEnd('a', { tool_name: 'write', output: 'Created' }),
    ])
    assert.match(out, /^\n {2}✓ Write index\.html \(812 B\) +0\.04 s\n$/)
  })

  test('a command that fails shows its exit code and the beginning of its output', () => {
    const output = Array.from({ length: 9 }, (_, i) => `line ${i + 1}`).join('\n')
    const out = render([toolStart('a', 'sh check.sh'), toolEnd('a', { status: 'error', exit_code: 1, output })])
    assert.match(out, /✗ sh check\.sh +exit 1 · 0\.04 s/)
    assert.match(out, /│ line 6\n.*│ … 3 more lines\n$/)
  })

  test('tools of one message are shown by their own titles, in the order in which they end', () => {
    const out = render([toolStart('a', 'first'), toolStart('b', 'second'), toolEnd('b'), toolEnd('a')])
    assert.ok(out.indexOf('second') < out.indexOf('first'))
    assert.equal(out.match(/✓/g)?.length, 2)
  })

  test('the end says status, cause and time since the prompt', () => {
    assert.match(render([userMessage, finish('success')]), /✓ success \(completed\) in 12\.3 s\n$/)
    const failed = render([userMessage, finish('failed', { error: 'the model did not answer' })])
    assert.match(failed, /✗ failed \(agent_error\) in 12\.3 s\n {4}the model did not answer\n$/)
  })

  test('a message that broke off says so', () => {
    assert.match(render([delta('I thi', 0), complete('I thi', { discarded: true })]), /I thi\n.*broke off/)
  })
})

describe('the terminal', () => {
  test('without colours there is no escape sequence at all', () => {
    const out = render([
      userMessage,
      delta('x', 0),
      complete('x'),
      toolStart('a', 't'),
      toolEnd('a'),
      finish('success'),
    ])
    assert.ok(!out.includes('\u001b'))
  })

  test('with colours the text is the same', () => {
    const events = [userMessage, delta('some words', 0), complete('some words'), toolStart('a', 't'), toolEnd('a')]
    const out = render(events, { color: true })
    assert.ok(out.includes('\u001b['))
    assert.equal(plain(out), render(events))
  })

  test('what is going on right now is written over by what comes next', () => {
    const out = render([toolStart('a', 'npm install'), toolEnd('a')], { live: true })
    const parts = out.split('\r\u001b[2K')
    assert.match(parts[1] ?? '', /⋯ npm install$/)
    assert.match(parts[2] ?? '', /✓ npm install/)
  })

  test('what agents print cannot move the cursor or rename the window', () => {
    const nasty = 'a\u001b[2J\u001b]0;title\u0007b\rc\bd'
    const out = render([complete(nasty), toolStart('a', nasty), toolEnd('a', { output: nasty })])
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there
    assert.doesNotMatch(out, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/)
  })

  for (const columns of [24, 40, 200]) {
    test(`nothing is wider than ${columns} columns`, () => {
      const long = 'a rather long line of words that goes on and on and on '.repeat(4)
      const out = render(
        [
          userMessage,
          complete(long),
          toolStart('a', long),
          toolEnd('a', { output: long, status: 'error', exit_code: 1 }),
        ],
        { columns },
      )
      for (const line of out.split('\n')) assert.ok(cells(line) <= columns, `${cells(line)}: ${line}`)
    })
  }

  test('wide characters count for two columns', () => {
    assert.equal(cells('日本'), 4)
    assert.equal(clip('日本語テキスト', 7), '日本語…')
    for (const line of wrap('日本語 テキスト '.repeat(10), 30, '  ').split('\n')) assert.ok(cells(line) <= 30)
  })
})
