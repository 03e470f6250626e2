import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RunResultBody, RunView, SessionView } from '#contracts/http.ts'
import { type Api, finish, settle, startApi, startRun } from './harness.ts'

const get = (api: Api, path: string) => api.app.inject({ url: `/api/agent/sessions${path}` })

test('a session says its workspace, its framework and the run that is being worked on', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api)
  const { created_at, ...rest } = SessionView.parse((await get(api, '/demo-1')).json())
  assert.deepEqual(rest, {
    session_id: 'demo-1',
    workspace_id: 'ws-1',
    framework: 'static',
    active_run_id: run.run_id,
    queue: { position: 1, ahead: 0, estimate_seconds: null },
  })
  assert.equal(created_at, run.created_at.toISOString())
})

test('a run whose finish is in the log is active no more, while its owner still tidies up', async (t) => {
  const api = await startApi(t)
  await finish(api, await startRun(api))
  assert.equal('active_run_id' in (await get(api, '/demo-1')).json(), false)
  assert.equal('active_run_id' in (await get(api, '')).json().sessions[0], false)
})

test('pages of sessions, newest first, to the end', async (t) => {
  const api = await startApi(t)
  for (let n = 1; n <= 5; n++) await startRun(api, { session_id: `s${n}`, workspace_id: `w${n}` })
  const seen: string[] = []
  let cursor: string | null = null
  do {
    const query: string = cursor === null ? '' : `&cursor=${cursor}`
    const { sessions, next } = (await get(api, `?limit=2${query}`)).json()
    seen.push(...sessions.map(({ session_id }: { session_id: string }) => session_id))
    cursor = next
  } while (cursor !== null)
  assert.deepEqual(seen, ['s5', 's4', 's3', 's2', 's1'])
  assert.deepEqual((await get(api, '?limit=5')).json().next, null)
})

test('no session at all is an empty page', async (t) => {
  const api = await startApi(t)
  assert.deepEqual((await get(api, '')).json(), { sessions: [], next: null })
})

test('pages of runs, newest first; nothing of prompt, owner or token in them', async (t) => {
  const api = await startApi(t)
  const ids: string[] = []
  for (let n = 1; n <= 3; n++) {
    const run = await startRun(api, { prompt: `Prompt ${n}` })
    ids.unshift(run.run_id)
    await settle(api, run)
  }
  const first = (await get(api, '/demo-1/runs?limit=2')).json()
  const second = (await get(api, `/demo-1/runs?limit=2&cursor=${first.next}`)).json()
  assert.equal(second.next, null)
  const runs = [...first.runs, ...second.runs].map((run) => RunView.strict().parse(run))
  assert.deepEqual(
    runs.map(({ run_id }) => run_id),
    ids,
  )
  assert.equal(runs[0]?.state, 'finished')
  assert.equal(runs[0]?.result?.cause, 'completed')
})

test('one run', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api, { options: { model: 'm' }, metadata: { a: [1] } })
  const view = RunView.strict().parse((await get(api, `/demo-1/runs/${run.run_id}`)).json())
  assert.deepEqual([view.state, view.attempt, view.options, view.metadata], ['queued', 0, { model: 'm' }, { a: [1] }])
})

test('the result is 202 with the state while the run is not settled, and then the result', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api)
  const { run_id } = run
  const early = await get(api, `/demo-1/runs/${run_id}/result`)
  assert.equal(early.statusCode, 202)
  assert.deepEqual(early.json(), { session_id: 'demo-1', run_id, state: 'queued' })
  assert.equal(early.headers['retry-after'], '1')
  await settle(api, run)
  const late = await get(api, `/demo-1/runs/${run_id}/result`)
  assert.equal(late.statusCode, 200)
  assert.deepEqual(RunResultBody.strict().parse(late.json()), {
    session_id: 'demo-1',
    run_id,
    status: 'success',
    cause: 'completed',
    elapsed_seconds: 1.5,
    container_exit_code: 0,
  })
})
