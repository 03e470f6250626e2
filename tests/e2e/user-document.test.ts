import assert from 'node:assert/strict'
import { chown, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, type TestContext, test } from 'node:test'
import type { SessionEvent } from '#contracts/events.ts'
import { waitFor } from '../helpers.ts'
import { testImage } from '../services/image.ts'
import { atTool, HOLD, LIMIT, letGo } from './channel-suite.ts'
import type { Answer } from './generate.ts'
import { kept } from './kept.ts'
import { readmeBlocks, runBlock } from './readme-blocks.ts'
import { followEvents } from './session-follower.ts'
import { openStack, type Stack } from './stack.ts'

/** What the README's blocks say, put into this test's words. */
const README = {
  url: 'http://localhost:8000',
  prompt: 'Make a page that greets the visitor',
  session: 'test-session-1',
  workspace: 'test-workspace-1',
  image: 'mgx:latest',
}

/** The agent's user owns the workspace: 1000:1000 where this process may give it away, else whoever this is. */
const uid = process.getuid?.() ?? 0
const BACKGROUND = uid === 0 ? '-d' : `-d --user ${uid}:${process.getgid?.() ?? uid}`

const opened = await openStack({ channel: 'direct' })
const blocks = await readmeBlocks()
const block = (name: string): string => blocks.get(name) ?? assert.fail(`the README has no block "${name}"`)

/** The two queries of the user's document, in exactly those shapes. */
const queries = ({ db }: Stack, session_id: string) => {
  const events = db.collection<SessionEvent>('events')
  return {
    all: () => events.find({ session_id }).sort({ timestamp: 1 }).toArray(),
    finishes: () => events.find({ session_id, event_type: 'finish' }).toArray(),
  }
}

const assertInOrder = (events: readonly SessionEvent[]): void => {
  assert.equal(events[0]?.event_type, 'user_message')
  assert.deepEqual(
    events.map(({ seq }) => seq),
    events.map((_, index) => index + 1),
  )
}

/** The agent by hand, as the README has it, but in the background and kept, so that `docker logs` has something to read. */
const byHand = async (t: TestContext, stack: Stack, session: string, more: Readonly<Record<string, string>>) => {
  const cwd = join(stack.root, session)
  const workspace = join(cwd, 'workspaces', session)
  await mkdir(workspace, { recursive: true })
  const name = `mgx-agent-${session}`
  const docker = (...args: string[]) => runBlock(`docker ${args.join(' ')} ${name}`, {})
  t.after(() => docker('rm', '-f'))
  const swaps = {
    '--rm': BACKGROUND,
    'test-session-2': session,
    'test-workspace-2': session,
    'MONGODB_DB=mgx': `MONGODB_DB=${stack.db.databaseName}`,
    [README.image]: await testImage(),
    ...more,
  }
  const env = {
    MONGODB_URL: stack.agentsUrl ?? '',
    OPENAI_API_KEY: stack.modelKey,
    OPENAI_BASE_URL: stack.model.baseUrl,
  }
  const start = async () => {
    await runBlock(block('docker-run'), swaps, { cwd, env })
    const code = Number((await docker('wait')).stdout)
    const { stdout, stderr } = await docker('logs')
    return { code, said: `${stdout}${stderr}` }
  }
  return { workspace, start, forget: () => docker('rm') }
}

describe("the user's document, as the README has it", { skip: 'skip' in opened ? opened.skip : false }, () => {
  if ('skip' in opened) return
  const stack = opened
  after(() => stack[Symbol.asyncDispose]())

  test('the README names the queries that are tested here', () => {
    assert.deepEqual(block('queries').trim().split('\n'), [
      `db.events.find({ session_id: "${README.session}" }).sort({ timestamp: 1 })`,
      `db.events.find({ session_id: "${README.session}", event_type: "finish" })`,
    ])
  })

  test('curl, docker logs while it runs, and the two queries', LIMIT, async () => {
    const [url] = stack.urls
    const session = stack.sessionId('document')
    const prompt = `${HOLD}\nwrite index.html <h1>Welcome</h1>\nThat is the page`
    const { stdout } = await runBlock(block('generate'), {
      [README.url]: url,
      [README.session]: session,
      [README.workspace]: session,
      [README.prompt]: JSON.stringify(prompt).slice(1, -1),
    })
    const run = JSON.parse(stdout) as Answer
    await using live = followEvents([`${url}${run.events_url}`])
    await live.until('first tool', atTool)
    const logs = runBlock(block('docker-logs'), { [README.session]: session })
    await letGo(stack, run)
    const { stdout: followed } = await logs
    assert.match(followed, new RegExp(`agent started: session ${session}[^]*agent ended: completed`))
    await kept(stack, run)
    const { all, finishes } = queries(stack, session)
    assertInOrder(await all())
    const [finish, ...more] = await finishes()
    assert.deepEqual(more, [])
    assert.equal(finish?.event_type === 'finish' && finish.data.status, 'success')
    assert.ok(finish?.timestamp instanceof Date)
    assert.equal(await readFile(join(stack.root, session, 'index.html'), 'utf8'), '<h1>Welcome</h1>')
  })

  test(
    'docker run by hand: no RUN_ID, no Redis, a user of MongoDB that may find and insert events',
    LIMIT,
    async (t) => {
      const session = stack.sessionId('by-hand')
      const { all, finishes } = queries(stack, session)
      const agent = await byHand(t, stack, session, { [README.prompt]: 'bash echo written by hand > note.txt' })
      if (uid === 0) await chown(agent.workspace, 1000, 1000)
      for (const times of [1, 2]) {
        const { code, said } = await agent.start()
        assert.equal(code, 0, said)
        assert.match(said, new RegExp(`agent started: session ${session}[^]*agent ended: completed`))
        const events = await all()
        assertInOrder(events)
        assert.equal(events.at(-1)?.event_type, 'finish')
        assert.equal((await finishes()).length, times, 'one for each time')
        await agent.forget()
      }
      assert.equal(await readFile(join(agent.workspace, 'note.txt'), 'utf8'), 'written by hand\n')
      const shown = JSON.stringify(stack.model.requests().at(-1)?.messages)
      assert.equal(
        shown.split('written by hand > note.txt').length - 1 >= 3,
        true,
        'the second time it knows of the first',
      )
    },
  )

  test('a workspace that the agent cannot write to: says who, where, and what to do', LIMIT, async (t) => {
    const session = stack.sessionId('refused')
    const agent = await byHand(t, stack, session, { '--rm': '-d --user 4711:4711' })
    await writeFile(join(agent.workspace, 'mine'), '')
    const { code, said } = await agent.start()
    assert.notEqual(code, 0)
    assert.match(said, /user 4711:4711\) cannot write to the workspace \/workspace .*chown -R 4711:4711/)
    assert.match(said, /--user "\$\(id -u\):\$\(id -g\)"/)
    assert.ok(!said.includes('    at '), 'no stack')
    const [finish] = await waitFor(async () => {
      const found = await queries(stack, session).finishes()
      return found.length > 0 && found
    })
    assert.ok(finish?.event_type === 'finish')
    assert.deepEqual([finish.data.status, finish.data.cause], ['failed', 'workspace_unavailable'])
    assert.match(finish.data.error ?? '', /cannot write to the workspace/)
  })
})
