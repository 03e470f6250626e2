import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createDockerEngine } from '#scheduler/engines/docker.ts'
import { openPrivateDocker } from '../../chaos/harness/private-docker.ts'
import { leaveFile, openGround, rejectsWith, soon, startSteps } from '../../conformance/engine-bench.ts'
import { toShell } from '../../conformance/shell-runner.ts'
import { sleep, tempDir, waitFor } from '../../helpers.ts'
import { ensureBoxImage } from '../../services/test-image.ts'
import { noDocker, silent, testDocker } from './docker-bench.ts'

/** Until a wait is surely under way. */
const A_WHILE = 500

const parentOf = async (pid: number): Promise<number> =>
  Number(/^PPid:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1])

const end = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended before us.
  }
}

test('docker: a container that a daemon lost sight of while it was away is lost without proof, not exited', {
  skip: noDocker,
}, async (t) => {
  const image = await ensureBoxImage(testDocker())
  const daemon = await openPrivateDocker({ dir: await tempDir(t), liveRestore: true, image })
  if ('skip' in daemon) return t.skip(daemon.skip)
  t.after(() => daemon[Symbol.asyncDispose]())
  const open = () =>
    createDockerEngine({
      docker: { socketPath: daemon.host.slice('unix://'.length) },
      installation: 'lost-sight',
      image,
      network: 'none',
      log: silent,
    })
  const engine = open()
  await using ground = await openGround(async () => ({
    engine,
    image,
    line: toShell,
    reopen: open,
    spoil: (spec) => ({ spec, failure: 'start_failed' }),
    [Symbol.asyncDispose]: async () => {},
  }))
  const lasts = { do: 'hang' } as const
  const [lost, killed, honest] = [await ground.newSpec(), await ground.newSpec(), await ground.newSpec()]
  const pidOf = async (containerId: string) => (await daemon.docker.getContainer(containerId).inspect()).State.Pid
  const lostPid = await pidOf((await startSteps(ground, engine, lost, [lasts])).containerId)
  const shim = await parentOf(lostPid)
  const killedPid = await pidOf((await startSteps(ground, engine, killed, [lasts])).containerId)

  await startSteps(ground, engine, honest, [
    { do: 'awaitFile', file: 'go' },
    { do: 'exit', code: 255 },
  ])
  const ending = engine.wait(honest, soon())
  await sleep(A_WHILE)
  await leaveFile(honest, 'go')
  assert.deepEqual(await ending, { code: 255, reason: 'exited' }, 'who waited has seen it')

  const containerd = (await readFile(join(daemon.dir, 'exec/containerd/containerd.pid'), 'utf8')).trim()
  const waiting = rejectsWith('engine_unavailable', engine.wait(lost, soon()))
  await daemon.kill('SIGKILL')
  t.after(() => end(lostPid))
  end(killedPid)
  await waiting
  // It ends with its daemon, and the next one must not take it for one that runs.
  await waitFor(() => !existsSync(`/proc/${containerd}`), { what: 'the end of containerd' })
  // Without it nobody knows what becomes of the processes: mostly they run on.
  end(shim)
  await daemon.restart()
  const { code, reason, unproven, detail } = await engine.wait(lost, soon())
  assert.deepEqual([code, reason, unproven], [null, 'lost', true])
  assert.match(detail ?? '', /lost sight/)
  assert.deepEqual(await engine.wait(killed, soon()), { code: 137, reason: 'killed' })
})
