import assert from 'node:assert/strict'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { SessionEvent } from '#contracts/events.ts'
import { LABELS } from '#contracts/labels.ts'
import { type Answer, generate, logsOf, postGenerate, resultOf, stopRun } from './generate.ts'
import { kept, logOf } from './kept.ts'
import { type Frame, followEvents, framesOf } from './session-follower.ts'
import type { Stack } from './stack.ts'

export const LIMIT = { timeout: 120_000 }

/** Holds the run until the test writes `go` into its workspace. */
export const HOLD = 'bash until [ -e go ]; do sleep 0.1; done; echo let go'

export const letGo = (stack: Stack, run: Pick<Answer, 'session_id'>): Promise<void> =>
  writeFile(join(stack.root, run.session_id, 'go'), '')

export const atTool = (event: SessionEvent): boolean => event.event_type === 'tool_start'

/** The container as `docker inspect` shows it to an operator, while the run is at work. */
const checkContainer = async (stack: Stack, run: Answer, network: string): Promise<void> => {
  const { Config, HostConfig, Mounts } = await stack.docker.getContainer(`mgx-agent-${run.session_id}`).inspect()
  assert.equal(Config.Labels[LABELS.managed], 'true')
  assert.equal(Config.Labels[LABELS.installation], stack.installation)
  assert.equal(Config.Labels[LABELS.session], run.session_id)
  assert.equal(Config.Labels[LABELS.run], run.run_id)
  assert.equal(Config.Labels[LABELS.workspace], run.session_id)
  assert.match(Config.User, /^[1-9]\d*:\d+$/, 'not root')
  assert.deepEqual(HostConfig.CapDrop, ['ALL'])
  assert.deepEqual(HostConfig.SecurityOpt, ['no-new-privileges'])
  assert.deepEqual([HostConfig.ReadonlyRootfs, HostConfig.Privileged, HostConfig.AutoRemove], [true, false, false])
  assert.equal(HostConfig.Memory, 2 * 1024 ** 3)
  assert.equal(HostConfig.MemorySwap, HostConfig.Memory)
  assert.deepEqual([HostConfig.PidsLimit, HostConfig.CpuQuota], [512, 100_000])
  assert.equal(HostConfig.NetworkMode, network)
  const [workspace] = Mounts.filter(({ Destination }) => Destination === '/workspace')
  assert.equal(workspace?.Source, join(stack.root, run.session_id))
  assert.deepEqual(
    Mounts.filter(({ RW }) => RW).map(({ Destination }) => Destination),
    ['/workspace'],
  )
  assert.ok(!Mounts.some(({ Source }) => Source.endsWith('docker.sock')))
  const told = JSON.stringify([Config.Env, Config.Cmd, Config.Labels])
  for (const secret of [stack.modelKey, 'mongodb:', 'redis:']) assert.ok(!told.includes(secret), secret)
}

/** The types in order, neighbours of the same type as one, without what is said beside the work. */
const course = (events: readonly SessionEvent[]): string[] =>
  events
    .map((event) => (event.event_type === 'run_state' ? event.data.state : event.event_type))
    .filter((type, index, all) => type !== all[index - 1] && !['running', 'file_changed', 'heartbeat'].includes(type))

const STEP = ['message_delta', 'message_complete', 'tool_start', 'tool_output_delta', 'tool_end']
const COURSE = [
  ...['user_message', 'queued', 'starting', 'agent_start'],
  ...STEP,
  ...STEP.filter((type) => type !== 'tool_output_delta'),
  ...['message_delta', 'message_complete', 'agent_end', 'finish'],
]

/** What was seen live, read again in each of the ways there are: the same bytes. */
const checkReplay = async (stack: Stack, run: Answer, live: readonly Frame[]): Promise<void> => {
  const url = `${stack.urls.at(-1)}/api/agent/sessions/${run.session_id}/events`
  const again = await fetch(url, { headers: { accept: 'text/event-stream' } })
  assert.deepEqual(await Array.fromAsync(framesOf(again.body ?? new ReadableStream())), live)
  const [half] = live.slice(live.length / 2)
  const rest = await fetch(url, { headers: { accept: 'text/event-stream', 'last-event-id': String(half?.id) } })
  assert.deepEqual(
    await Array.fromAsync(framesOf(rest.body ?? new ReadableStream())),
    live.filter(({ id }) => id > (half?.id ?? 0)),
  )
  const page = await fetch(`${url}?limit=1000`, { headers: { accept: 'application/json' } })
  const events = live.map(({ data }) => data).join(',')
  assert.equal(await page.text(), `{"events":[${events}],"next_after":${live.length}}`)
}

const promptToResult = async (stack: Stack, network: string): Promise<void> => {
  const [url] = stack.urls
  const prompt = `${HOLD}\nwrite src/hello.txt Hello from the agent\nThat is all`
  const run = await generate(url, { session_id: stack.sessionId('main'), prompt, metadata: { from: 'e2e' } })
  await using live = followEvents([`${url}${run.events_url}`])
  await live.until('first tool', atTool)
  await checkContainer(stack, run, network)
  await letGo(stack, run)
  await live.done
  assert.deepEqual(course(live.events), COURSE)
  const finish = await kept(stack, run)
  assert.equal(finish.data.cause, 'completed')

  const { elapsed_seconds, ...result } = await resultOf(url, run)
  const { session_id, run_id } = run
  assert.deepEqual(result, { session_id, run_id, status: 'success', cause: 'completed', container_exit_code: 0 })
  assert.ok(elapsed_seconds > 0)
  const logs = await logsOf(url, run)
  assert.match(logs, new RegExp(`agent started: session ${session_id}[^]*agent ended: completed`))
  const file = join(stack.root, session_id, 'src/hello.txt')
  assert.equal(await readFile(file, 'utf8'), 'Hello from the agent')
  assert.notEqual((await stat(file)).uid, 0)
  await checkReplay(stack, run, live.frames)
}

const secondPrompt = async (stack: Stack): Promise<void> => {
  const [url] = stack.urls
  const session_id = stack.sessionId('talk')
  for (const prompt of ['bash echo the answer is $((6 * 7))\nFirst', 'Second']) {
    await kept(stack, await generate(url, { session_id, prompt }))
  }
  const shown = stack.model.requests().at(-1)?.messages ?? []
  assert.deepEqual(
    shown.map(({ role }) => role),
    ['system', 'user', 'assistant', 'tool', 'assistant', 'user'],
  )
  const said = shown.map(({ content }) => JSON.stringify(content))
  assert.match(said[1] ?? '', /bash echo the answer/)
  assert.match(said[3] ?? '', /the answer is 42/)
  assert.match(said[4] ?? '', /Done: First/)
  assert.match(said[5] ?? '', /Second/)
}

const stopAtWork = async (stack: Stack): Promise<void> => {
  const [url] = stack.urls
  const session_id = stack.sessionId('stopped')
  const run = await generate(url, { session_id, prompt: HOLD })
  await using live = followEvents([`${url}${run.events_url}`])
  await live.until('first tool', atTool)
  const answers = await Promise.all([stopRun(url, run), stopRun(url, run)])
  for (const answer of answers) {
    assert.equal(answer.status, 202)
    assert.deepEqual(await answer.json(), { session_id, run_id: run.run_id, status: 'stopping' })
  }
  await live.done
  assert.equal((await kept(stack, run)).data.status, 'cancelled')
  const result = await resultOf(url, run)
  assert.deepEqual([result.status, result.cause], ['cancelled', 'cancelled'])
  const end = live.events.find((event) => event.event_type === 'agent_end')
  assert.ok(end?.event_type === 'agent_end' && end.data.status === 'cancelled')
  assert.equal((await stopRun(url, run)).status, 202, 'asked again: the same answer')
  const next = await generate(url, { session_id, prompt: 'Go on' })
  assert.equal((await kept(stack, next)).data.cause, 'completed')
  const late = await stopRun(url, next)
  assert.deepEqual([late.status, ((await late.json()) as { code: string }).code], [409, 'RUN_OVER'])
}

const outOfTime = async (stack: Stack): Promise<void> => {
  const [url] = stack.urls
  const session_id = stack.sessionId('late')
  const run = await generate(url, { session_id, prompt: HOLD, options: { timeout_seconds: 3 } })
  assert.equal((await kept(stack, run)).data.cause, 'timeout')
  const result = await resultOf(url, run)
  assert.deepEqual([result.status, result.cause], ['timeout', 'timeout'])
  assert.equal(result.error, 'Agent task timeout after 3 seconds')
}

const streamedGenerate = async (stack: Stack): Promise<void> => {
  const [url] = stack.urls
  const body = { session_id: stack.sessionId('streamed'), prompt: 'tell 8' }
  const headers = { accept: 'text/event-stream', 'idempotency-key': body.session_id }
  const response = await postGenerate(url, body, headers)
  assert.equal(response.status, 200)
  assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/)
  const live = await Array.fromAsync(framesOf(response.body ?? new ReadableStream()))
  const stored = await logOf(stack, body)
  assert.deepEqual(
    live.map(({ id }) => id),
    stored.map(({ seq }) => seq),
  )
  assert.equal(live.at(-1)?.event, 'finish')
  const again = await postGenerate(url, body, headers)
  assert.deepEqual(
    await Array.fromAsync(framesOf(again.body ?? new ReadableStream())),
    live,
    'asked again: the same run',
  )
}

/** What holds in every channel; `network` is the one that its agents are to be on. */
export const channelSuite = (stack: Stack, network = 'bridge'): void => {
  test('a prompt becomes a container, events, a result, a log and files', LIMIT, () => promptToResult(stack, network))
  test('a second prompt goes on from the conversation of the first', LIMIT, () => secondPrompt(stack))
  test('stop ends a run at work as cancelled, and frees its session', LIMIT, () => stopAtWork(stack))
  test('a run that takes longer than it may ends as timeout', LIMIT, () => outOfTime(stack))
  test('generate streams its run, and the same run again for the same key', LIMIT, () => streamedGenerate(stack))
}
