import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { SandboxRef, SandboxSpec } from '#scheduler/engines/engine.ts'
import { createProcessEngine } from '#scheduler/engines/process.ts'
import { FILES, type Processes } from '#scheduler/engines/process-state.ts'
import { descendants, identify, isAlive } from '#scheduler/engines/process-table.ts'
import {
  type Ground,
  leaveFile,
  openGround,
  readLogs,
  rejectsWith,
  soon,
  startSteps,
} from '../../conformance/engine-bench.ts'
import { toShell } from '../../conformance/shell-runner.ts'
import { tempDir, waitFor } from '../../helpers.ts'
import { dieAfterStart, dieWhileStarting } from './dying-worker.ts'
import { openProcessBench, type ProcessBench } from './process-bench.ts'

const isGone = async (pid: number): Promise<boolean> => {
  try {
    return !(await isAlive(identify(pid)))
  } catch {
    return true
  }
}

describe('process engine: faults', () => {
  let ground: Ground
  let bench: ProcessBench

  before(async () => {
    ground = await openGround(async () => {
      bench = await openProcessBench()
      return bench
    })
  })
  after(() => ground?.[Symbol.asyncDispose]())

  const dirOf = async (ref: SandboxRef): Promise<string> => {
    const found = await ground.engine.find(ref)
    assert.ok(found)
    return join(bench.stateDir, found.containerId)
  }
  const processesOf = async (ref: SandboxRef): Promise<Processes> =>
    JSON.parse(await readFile(join(await dirOf(ref), FILES.processes), 'utf8')) as Processes
  const hang = (spec: SandboxSpec) =>
    startSteps(ground, ground.engine, spec, [{ do: 'onTerm', code: 0 }, { do: 'hang' }])
  const shell = (spec: SandboxSpec, line: string) => ground.engine.start(spec, () => `${line}\n`, soon())

  test('it is refused in production, and loud elsewhere', async (t) => {
    const said: string[] = []
    const options = { stateDir: join(await tempDir(t), 'state'), command: bench.command }
    const log = { warn: (text: string) => said.push(text) }
    const production = createProcessEngine({ ...options, production: true, log })
    assert.match((await rejectsWith('engine_unavailable', production.check())).message, /NODE_ENV=production/)
    await rejectsWith('engine_unavailable', startSteps(ground, production, await ground.newSpec(), []))
    assert.deepEqual(said, [])
    await createProcessEngine({ ...options, production: false, log }).check()
    assert.match(said.join(), /ISOLATES NOTHING/)
  })

  test('it says why it cannot run: state directory, program', async (t) => {
    const dir = await tempDir(t)
    await writeFile(join(dir, 'file'), '')
    const engine = (stateDir: string, command: string[]) =>
      createProcessEngine({ stateDir, command, production: false, log: { warn: () => {} } })
    await rejectsWith('engine_unavailable', engine(join(dir, 'file'), ['/bin/sh']).check())
    await rejectsWith('engine_unavailable', engine(dir, ['node']).check())
    const spec = await ground.newSpec()
    const broken = engine(join(dir, 'state'), ['/no/such/program', 'x'])
    const { remediation } = await rejectsWith('start_failed', startSteps(ground, broken, spec, []))
    assert.match(remediation, /\/no\/such\/program x/)
    assert.deepEqual(await readdir(join(dir, 'state')), [])
  })

  test("the runner gets none of this process's environment, and a HOME of its own", async (t) => {
    process.env.MGX_TEST_SECRET = 'not for agents'
    t.after(() => delete process.env.MGX_TEST_SECRET)
    const spec = await ground.newSpec()
    await shell(spec, 'env; cat /proc/$PPID/environ | tr "\\0" "\\n"; touch $HOME/a $TMPDIR/b && echo wrote')
    await ground.engine.wait(spec, soon())
    const text = await readLogs(ground.engine, spec)
    const names = new Set(text.match(/^\w+(?==)/gm))
    for (const own of ['PWD', 'OLDPWD', '_', 'SHLVL', 'LC_CTYPE']) names.delete(own)
    assert.deepEqual([...names].sort(), ['FRAMEWORK', 'HOME', 'LANG', 'PATH', 'TMPDIR', 'WORKSPACE_DIR'])
    assert.ok(text.includes(`WORKSPACE_DIR=${spec.workspace.path}`) && text.includes('wrote'))
    const dir = await dirOf(spec)
    await ground.engine.remove(spec)
    await assert.rejects(readdir(dir), { code: 'ENOENT' })
  })

  test('a worker that was killed: the next one adopts, reads all output and the exit code', async () => {
    const spec = await ground.newSpec()
    const line = toShell([
      { do: 'print', text: 'before' },
      { do: 'awaitFile', file: 'go' },
      { do: 'print', text: 'after' },
      { do: 'exit', code: 12 },
    ])
    const { stateDir, command } = bench
    await dieAfterStart({ kind: 'process', stateDir, command, spec, line })
    const { adopted } = await startSteps(ground, ground.engine, spec, [])
    assert.equal(adopted, true)
    const waiting = ground.engine.wait(spec, soon())
    await leaveFile(spec, 'go')
    assert.deepEqual(await waiting, { code: 12, reason: 'exited' })
    assert.equal(await readLogs(ground.engine, spec), 'before\nafter\n')
  })

  test('a worker that was killed before it wrote the job line: the runner sees the end of its input', async () => {
    const spec = await ground.newSpec()
    const { stateDir, command } = bench
    await dieWhileStarting({ kind: 'process', stateDir, command, spec })
    assert.deepEqual(await ground.engine.wait(spec, soon()), { code: 66, reason: 'exited' })
  })

  test('one that was never started is shown as such, and replaced', async () => {
    const spec = await ground.newSpec()
    const { session_id, run_id, workspace_id } = spec
    const containerId = 'process-unstarted'
    const createdAt = new Date(Date.now() - 60_000).toISOString()
    await mkdir(join(bench.stateDir, containerId), { recursive: true })
    const about = { containerId, session_id, run_id, workspace_id, createdAt }
    await writeFile(join(bench.stateDir, containerId, FILES.about), JSON.stringify(about))
    assert.equal((await ground.engine.find(spec))?.started, false)
    const started = await startSteps(ground, ground.engine, spec, [])
    assert.equal(started.adopted, false)
    assert.notEqual(started.containerId, containerId)
    assert.deepEqual(await ground.engine.wait(spec, soon()), { code: 0, reason: 'exited' })
  })

  test('killed from outside: its signal is its exit code', async () => {
    const spec = await ground.newSpec()
    await hang(spec)
    process.kill((await processesOf(spec)).runner.pid, 'SIGKILL')
    assert.deepEqual(await ground.engine.wait(spec, soon()), { code: 137, reason: 'killed' })
  })

  test('supervisor and runner both gone: lost', async () => {
    const spec = await ground.newSpec()
    await hang(spec)
    const { supervisor, runner } = await processesOf(spec)
    process.kill(supervisor.pid, 'SIGKILL')
    process.kill(-runner.pid, 'SIGKILL')
    assert.deepEqual(await ground.engine.wait(spec, soon()), { code: null, reason: 'lost' })
    assert.equal((await ground.engine.find(spec))?.running, false)
  })

  test('the machine was rebooted: lost', async () => {
    const spec = await ground.newSpec()
    await hang(spec)
    const processes = await processesOf(spec)
    await writeFile(join(await dirOf(spec), FILES.processes), JSON.stringify({ ...processes, boot: 'another' }))
    assert.deepEqual(await ground.engine.wait(spec, soon()), { code: null, reason: 'lost' })
    await writeFile(join(await dirOf(spec), FILES.processes), JSON.stringify(processes))
  })

  test('a process that has the number of a dead runner is not touched', async () => {
    const [victim, spec] = [await ground.newSpec(), await ground.newSpec()]
    await hang(victim)
    const stranger = (await processesOf(victim)).runner
    await hang(spec)
    const processes = await processesOf(spec)
    const reused = { ...processes, supervisor: { ...stranger, start: 1 }, runner: { ...stranger, start: 1 } }
    await writeFile(join(await dirOf(spec), FILES.processes), JSON.stringify(reused))
    await ground.engine.stop(spec, 0)
    await ground.engine.remove(spec)
    assert.equal(await isAlive(stranger), true)
    process.kill(-processes.runner.pid, 'SIGKILL')
  })

  test('stop ends what the runner had started too, also in sessions of their own', async () => {
    const spec = await ground.newSpec()
    await shell(spec, "trap 'exit 0' TERM; setsid sleep 600 & sleep 600 & echo $! > group; echo ok > ready; wait")
    const { runner } = await waitFor(async () => {
      await readFile(join(spec.workspace.path, 'ready'))
      return processesOf(spec)
    })
    const family = await waitFor(async () => {
      const found = await descendants(runner.pid)
      return found.length >= 2 && found
    })
    await ground.engine.stop(spec, 5000)
    assert.deepEqual(await ground.engine.wait(spec, soon()), { code: 0, reason: 'exited' })
    for (const member of family) await waitFor(async () => !(await isAlive(member)), { what: 'the family to be gone' })
  })

  test('what the runner left in its group ends with it', async () => {
    const spec = await ground.newSpec()
    await shell(spec, 'sleep 600 & echo $! > left; exit 0')
    assert.deepEqual(await ground.engine.wait(spec, soon()), { code: 0, reason: 'exited' })
    const pid = Number(await readFile(join(spec.workspace.path, 'left'), 'utf8'))
    await waitFor(() => isGone(pid), { what: 'what was left to be gone' })
  })

  test('a check clears away what a crash left half-made', async () => {
    const half = join(bench.stateDir, '.new-half')
    await mkdir(half)
    await ground.engine.check()
    await assert.rejects(readdir(half), { code: 'ENOENT' })
    await rm(half, { recursive: true, force: true })
  })
})
