import type { Readable } from 'node:stream'
import type Docker from 'dockerode'
import type { SandboxExit } from '#contracts/run.ts'
import { pause } from '../patience.ts'
import { askUnless, CALL_MS, containersOf, type Daemon } from './docker-daemon.ts'
import type { SandboxRef } from './engine.ts'
import { exitFrom, LOST } from './exit-reason.ts'

/** The daemon is asked anew this often, in case the waiting connection died without a word. */
const RECHECK_MS = 30_000

/** A container that was created and not started by then was left by a worker that died: nobody will start it. */
const UNSTARTED_MS = 30_000
const POLL_MS = 100

/**
 * What a daemon that comes back (live-restore) makes of a container whose shim it does not find: exited, with this code, just now;
 * while its processes may run on (seen with Docker 20.10). Of one that really ended with it, it has seen the end itself, or who
 * waited has.
 */
const OUT_OF_SIGHT = 255
const OUT_OF_SIGHT_EXIT: SandboxExit = {
  ...LOST,
  unproven: true,
  detail: 'Docker lost sight of it when its daemon was away, and says exit code 255',
}

type State = Docker.ContainerInspectInfo['State']

const stateOf = async (docker: Docker, id: string): Promise<State | undefined> => {
  const info = await askUnless([404], CALL_MS, (abortSignal) => docker.getContainer(id).inspect({ abortSignal }))
  return info?.State
}

/** From a container's end to the daemon's own word of it, at most, on a busy machine, milliseconds. */
const SAID_MS = 5_000

/** True when this daemon has itself seen the container end: it remembers its last 256 events, and none from before its own start. */
const sawItEnd = async (docker: Docker, id: string, { FinishedAt }: State): Promise<boolean> => {
  const since = Date.parse(FinishedAt) / 1000
  const filters = { container: [id], event: ['die'] }
  const seen = await askUnless([], CALL_MS, async (abortSignal) => {
    const options = { since: since - 1, until: since + SAID_MS / 1000, filters, abortSignal }
    for await (const _ of await docker.getEvents(options)) return true
    return false
  })
  return seen === true
}

/** As a stream, because `container.wait()` of dockerode never settles when the connection breaks. */
const openWait = (docker: Docker, id: string, abortSignal: AbortSignal): Promise<Readable> =>
  new Promise((resolve, reject) => {
    const request = {
      path: `/containers/${id}/wait?`,
      method: 'POST',
      options: { condition: 'not-running' },
      statusCodes: { 200: true },
      isStream: true,
      abortSignal,
    }
    docker.modem.dial(request, (error: Error | null, stream: unknown) =>
      error ? reject(error) : resolve(stream as Readable),
    )
  })

/** Resolves when the container stops, with its exit code; or with nothing when it is time to look again. */
const untilStopped = async (docker: Docker, id: string, signal: AbortSignal): Promise<number | undefined> => {
  const round = AbortSignal.any([signal, AbortSignal.timeout(RECHECK_MS)])
  try {
    let body = ''
    for await (const chunk of await openWait(docker, id, round)) body += chunk
    const { StatusCode } = JSON.parse(body) as { StatusCode?: number }
    return StatusCode
  } catch {
    // Broken, refused or timed out: the next look at the container says what that means.
    await pause(POLL_MS, signal)
    return undefined
  }
}

/** `SandboxEngine.wait`. */
export const waitForExit = async (
  daemon: Daemon,
  ref: SandboxRef,
  signal: AbortSignal,
  unstartedMs = UNSTARTED_MS,
): Promise<SandboxExit> => {
  signal.throwIfAborted()
  const [found] = await containersOf(daemon, ref)
  if (!found) return LOST
  const since = Date.now()
  let seen: number | undefined
  for (;;) {
    signal.throwIfAborted()
    const state = await stateOf(daemon.docker, found.containerId)
    // Removed under our feet: the exit code may have come first.
    if (!state) return seen === undefined ? LOST : exitFrom(seen, false)
    if (state.Status === 'created') {
      if (Date.now() - since > unstartedMs) return LOST
      await pause(POLL_MS, signal)
    } else if (state.Running) {
      seen = await untilStopped(daemon.docker, found.containerId, signal)
    } else if (state.ExitCode === OUT_OF_SIGHT && seen !== OUT_OF_SIGHT) {
      return (await sawItEnd(daemon.docker, found.containerId, state))
        ? exitFrom(OUT_OF_SIGHT, false)
        : OUT_OF_SIGHT_EXIT
    } else {
      return exitFrom(state.ExitCode, state.OOMKilled)
    }
  }
}
