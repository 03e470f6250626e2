import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { median, type Row, relative } from './row.ts'
import { openSse } from './sse-client.ts'
import { type Bench, type Stack, startEmbedded, startServices } from './stack.ts'

const run = promisify(execFile)
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 15)
const WARM_UP = 2

/** Milliseconds of `docker run --rm` of a Node that does nothing: create to removed, the floor of any container start. */
const floor = async (image: string): Promise<number> => {
  const start = performance.now()
  await run('docker', ['run', '--rm', '--entrypoint', '/usr/local/bin/node', image, '-e', '0'])
  return performance.now() - start
}

const untilContainerGone = async (session: string): Promise<void> => {
  for (let n = 0; n < 400; n++) {
    const { stdout } = await run('docker', ['ps', '-aq', '--filter', `label=dev.mgx.session=${session}`])
    if (stdout.trim() === '') return
    await sleep(50)
  }
  throw new Error(`the container of ${session} stayed`)
}

/** Milliseconds from the POST to `agent_start` at the client; then waits until the run has left nothing behind. */
const coldStart = async (stack: Stack): Promise<number> => {
  const session = `b-${randomUUID().slice(0, 12)}`
  const body = { session_id: session, workspace_id: session, framework: 'static', prompt: 'bench' }
  const start = process.hrtime.bigint()
  let seen: bigint | undefined
  for await (const frame of openSse(`${stack.url}/api/agent/generate`, { method: 'POST', body })) {
    if (frame.event === 'agent_start') seen ??= frame.at
  }
  if (seen === undefined) throw new Error('the run ended without agent_start')
  await untilContainerGone(session)
  return Number(seen - start) / 1e6
}

/** Cold starts of each channel, interleaved with the floor round by round. */
export const benchColdStart = async (bench: Bench): Promise<Row[]> => {
  await using stack = new AsyncDisposableStack()
  const subjects = [
    { name: 'embedded, gateway', max: 1.0, stack: stack.use(await startEmbedded(bench)), ms: [] as number[] },
    {
      name: 'services, gateway',
      max: 1.0,
      stack: stack.use(await startServices(bench, 'gateway')),
      ms: [] as number[],
    },
    { name: 'services, direct', max: 1.4, stack: stack.use(await startServices(bench, 'direct')), ms: [] as number[] },
  ]
  const floors: number[] = []
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    const base = await floor(bench.image)
    if (round >= 0) floors.push(base)
    for (const subject of subjects) {
      const ms = await coldStart(subject.stack)
      if (round >= 0) subject.ms.push(ms)
    }
  }
  return subjects.map((s) =>
    relative(`POST → agent_start, cold (${s.name}), p50`, median(s.ms), 'ms', median(floors), { max: s.max }),
  )
}
