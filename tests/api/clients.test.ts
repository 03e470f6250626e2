import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Run } from '#contracts/run.ts'
import { waitFor } from '../helpers.ts'
import { openChromium, servePage } from './chromium.ts'
import { type Api, finish, log, say, settle, startApi, startRun } from './harness.ts'
import { pythonWithSse } from './python.ts'

const ROOT = new URL('../../', import.meta.url).pathname

/** An example of docs/clients.md, by the name behind its language. */
const example = async (name: string, url: string): Promise<string> => {
  const text = await readFile(join(ROOT, 'docs/clients.md'), 'utf8')
  const code = new RegExp(`^\`\`\`[a-z]+ ${name.replace('.', '\\.')}\n(.*?)^\`\`\`$`, 'ms').exec(text)?.[1]
  assert.ok(code, `docs/clients.md has no example ${name}`)
  assert.ok(code.includes('http://localhost:8000'))
  return code.replaceAll('http://localhost:8000', url)
}

type Client = {
  readonly child: ChildProcess
  readonly lines: string[]
  readonly over: Promise<number | null>
  errors(): string
}

const runClient = (t: TestContext, command: string, args: string[]): Client => {
  const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
  t.after(() => child.kill('SIGKILL'))
  const lines: string[] = []
  let rest = ''
  let errors = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts)
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const over = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  return { child, lines, over, errors: () => errors }
}

/** Two events, a broken connection, two more (one of them while nobody was there), and the end. */
const playRun = async (api: Api, run: Run, seen: () => number): Promise<void> => {
  await waitFor(() => seen() === 2, { what: 'the first two events' })
  await say(api, run, 1, 'message_delta', { message_id: 'm', index: 0, kind: 'text', delta: 'Grüße, 世界\r\n' })
  await waitFor(() => seen() === 3, { what: 'the third event' })
  api.app.server.closeAllConnections()
  await say(api, run, 2, 'message_delta', { message_id: 'm', index: 1, kind: 'text', delta: '' })
  await waitFor(() => seen() === 4, { what: 'the event behind the break' })
  await finish(api, run)
}

const EXPECTED = ['1 user_message', '2 run_state', '3 message_delta', '4 message_delta', '5 finish']

const startSession = async (t: TestContext, corsOrigins: string[] = []) => {
  const api = await startApi(t, { corsOrigins })
  return { api, run: await startRun(api), url: await api.url() }
}

const checkProgram = async (t: TestContext, command: string, args: (code: string) => string[], name: string) => {
  const { api, run, url } = await startSession(t)
  const client = runClient(t, command, args(await example(name, url)))
  await playRun(api, run, () => client.lines.length)
  assert.equal(await client.over, 0, client.errors())
  assert.deepEqual(client.lines, EXPECTED)
}

const node = (code: string) => ['--input-type=module', '--eval', code]

test("npm's eventsource follows, survives a broken connection and ends", (t) =>
  checkProgram(t, process.execPath, node, 'eventsource.mjs'))

test("Node's fetch follows, survives a broken connection and ends", (t) =>
  checkProgram(t, process.execPath, node, 'fetch.mjs'))

test('Python with httpx-sse follows, survives a broken connection and ends', async (t) => {
  const found = await pythonWithSse()
  if ('why' in found) return t.skip(found.why)
  await checkProgram(t, found.python, (code) => ['-c', code], 'follow.py')
})

test("Chromium's EventSource on another origin follows, survives a broken connection and ends", async (t) => {
  const opened = await openChromium(t)
  if ('why' in opened) return t.skip(opened.why)
  let script = ''
  const origin = await servePage(t, () => script)
  const { api, run, url } = await startSession(t, [origin])
  script = await example('browser.js', url)
  const page = await opened.browser.newPage()
  const lines: string[] = []
  page.on('console', (message) => {
    if (/^\d+ |^closed/.test(message.text())) lines.push(message.text())
  })
  await page.goto(origin)
  await playRun(api, run, () => lines.length)
  await waitFor(() => lines.length === EXPECTED.length)
  assert.deepEqual(lines, EXPECTED)
  await waitFor(() => api.follower.open() === 0)
})

test("204 makes Chromium's EventSource stop for good", async (t) => {
  const opened = await openChromium(t)
  if ('why' in opened) return t.skip(opened.why)
  let script = ''
  const origin = await servePage(t, () => script)
  const { api, run, url } = await startSession(t, [origin])
  await settle(api, run)
  const code = await example('browser.js', url)
  script = code.replace('/events', '/events?after=3').replaceAll('source.close()', 'source')
  const page = await opened.browser.newPage()
  const closed = page.waitForEvent('console', (message) => message.text() === 'closed')
  await page.goto(origin)
  await closed
})

test('a page of an origin that is not configured is kept out', async (t) => {
  const opened = await openChromium(t)
  if ('why' in opened) return t.skip(opened.why)
  let script = ''
  const origin = await servePage(t, () => script)
  const { url } = await startSession(t, ['https://other.example'])
  script = await example('browser.js', url)
  const page = await opened.browser.newPage()
  const closed = page.waitForEvent('console', (message) => message.text() === 'closed')
  await page.goto(origin)
  await closed
})

const curl = async (t: TestContext, name: string, url: string) => runClient(t, 'sh', ['-c', await example(name, url)])

const framesOf = (lines: readonly string[]) => {
  const ids = lines.filter((line) => line.startsWith('id: ')).map((line) => line.slice(4))
  const types = lines.filter((line) => line.startsWith('event: ')).map((line) => line.slice(7))
  return ids.map((id, n) => `${id} ${types[n]}`)
}

test('curl starts a run and watches it in one call', async (t) => {
  const api = await startApi(t)
  const client = await curl(t, 'generate.sh', await api.url())
  await waitFor(() => framesOf(client.lines).length === 2)
  const run = await api.store.runs.latestRun('default', 'demo-1')
  assert.ok(run)
  await finish(api, run)
  assert.equal(await client.over, 0, client.errors())
  assert.deepEqual(framesOf(client.lines), ['1 user_message', '2 run_state', '3 finish'])
})

test('curl follows a session, resumes behind an id, and reads pages', async (t) => {
  const { api, run, url } = await startSession(t)
  const live = await curl(t, 'follow.sh', url)
  await log(api, run, 1)
  await waitFor(() => framesOf(live.lines).length === 3)
  await finish(api, run)
  assert.equal(await live.over, 0, live.errors())
  const resumed = await curl(t, 'resume.sh', url)
  await resumed.over
  assert.deepEqual(framesOf(resumed.lines), framesOf(live.lines).slice(2))
  const pages = runClient(t, 'sh', ['-c', `${(await example('pages.sh', url)).trim()}; echo`])
  await pages.over
  const { events, next_after } = JSON.parse(pages.lines.join(''))
  assert.deepEqual([events.length, next_after], [4, 4])
})
