import type { Duplex } from 'node:stream'
import { finished } from 'node:stream/promises'
import type Docker from 'dockerode'
import { RUNNER_READY } from '#contracts/job.ts'
import type { Semaphore } from '../semaphore.ts'
import { ask, askUnless, CALL_MS, CHANGE_MS, type Daemon, listSlot, listSlots, within } from './docker-daemon.ts'
import { removeFound } from './docker-end.ts'
import { callError, startError } from './docker-errors.ts'
import { optionsKey, slotOptions } from './docker-options.ts'
import { discard, lookAround } from './docker-start.ts'
import { EngineError } from './engine.ts'
import type { RunNames, SlotSpec, WarmEngine, WarmSlot } from './warm-engine.ts'

/** From the start to the ready line. A quiet machine takes a third of a second. */
const READY_MS = 60_000

/** A runner that is ready reads at once; a pipe that takes no line for so long belongs to one that is not. */
const TELL_MS = 5_000

const imageId = async (docker: Docker, image: string): Promise<string> => {
  const found = await askUnless([404], CALL_MS, () => docker.getImage(image).inspect())
  if (found) return found.Id
  const remedy = 'Build it with `make build-agent`, or set AGENT_CONTAINER_IMAGE to an image that this daemon has.'
  throw new EngineError('image_missing', `the Docker daemon has no image ${image}`, remedy)
}

/** Both ways: what the runner prints says when it is ready; after that nobody reads it here. */
const attach = async (container: Docker.Container): Promise<Duplex> => {
  const options = { stream: true, stdin: true, stdout: true, stderr: false, hijack: true }
  const stream = (await within(CALL_MS, (abortSignal) => container.attach({ ...options, abortSignal }))) as Duplex
  stream.on('error', () => stream.destroy())
  return stream
}

const untilReady = (stream: Duplex, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    let said = Buffer.alloc(0)
    const leave = (settle: () => void) => () => {
      stream.off('data', look)
      stream.off('close', gone)
      signal.removeEventListener('abort', late)
      settle()
    }
    const look = (chunk: Buffer) => {
      said = Buffer.concat([said, chunk])
      if (said.includes(RUNNER_READY)) leave(resolve)()
    }
    const gone = leave(() => reject(new Error(`it ended before it was ready: ${said.toString().slice(0, 500)}`)))
    const late = leave(() => reject(signal.reason))
    stream.on('data', look)
    stream.once('close', gone)
    stream.once('end', gone)
    signal.addEventListener('abort', late, { once: true })
  })

/** The stream is drained, because its end is how the death of the container is noticed. */
const watchGone = (stream: Duplex): AbortSignal => {
  const gone = new AbortController()
  stream.on('data', () => {})
  for (const event of ['end', 'close']) stream.once(event, () => gone.abort())
  stream.resume()
  return gone.signal
}

const tell = async (stream: Duplex, line: string): Promise<void> => {
  try {
    stream.end(line)
    await finished(stream, { readable: false, signal: AbortSignal.timeout(TELL_MS) })
  } catch (error) {
    throw callError(error)
  } finally {
    // What was written stays written; what it prints from here on is read as any run's output is.
    stream.destroy()
  }
}

const toSlot = (
  daemon: Daemon,
  spec: SlotSpec,
  key: string,
  container: Docker.Container,
  stream: Duplex,
): WarmSlot => ({
  slot: spec.slot,
  containerId: container.id,
  key,
  gone: watchGone(stream),
  tell: (line) => tell(stream, line),
  async rename(name) {
    await ask(CALL_MS, (abortSignal) => container.rename({ name, abortSignal }))
  },
  async discard() {
    stream.destroy()
    await removeSlot(daemon, spec.slot)
  },
})

const startSlot = async (daemon: Daemon, places: Semaphore, spec: SlotSpec, signal: AbortSignal): Promise<WarmSlot> => {
  using _place = await places.acquire(signal, 'yielding')
  let container: Docker.Container | undefined
  let stream: Duplex | undefined
  try {
    const image = await imageId(daemon.docker, spec.image)
    container = await within(CHANGE_MS, (abortSignal) =>
      daemon.docker.createContainer({ ...slotOptions(spec, daemon.installation, image), abortSignal }),
    )
    stream = await attach(container)
    const ready = untilReady(stream, AbortSignal.any([signal, AbortSignal.timeout(READY_MS)]))
    ready.catch(() => {})
    const { start } = container
    await within(CHANGE_MS, (abortSignal) => start.call(container, { abortSignal }))
    await ready
    return toSlot(daemon, spec, optionsKey(spec, image), container, stream)
  } catch (error) {
    stream?.destroy()
    const failure = startError(error, spec)
    const told = container ? await discard(container, failure) : failure
    signal.throwIfAborted()
    throw told
  }
}

const removeSlot = async (daemon: Daemon, slot: string): Promise<void> => {
  for (const found of await listSlot(daemon, slot)) await removeFound(daemon, found)
}

const isFree = async (daemon: Daemon, run: RunNames): Promise<boolean> => {
  const { inTheWay } = await lookAround(daemon, run)
  return !inTheWay
}

/** `SandboxEngine.warm`. Starts of runs and of slots share their places. */
export const dockerWarm = (daemon: Daemon, places: Semaphore): WarmEngine => ({
  memoryBytes: async () => Number((await ask(CALL_MS, () => daemon.docker.info())).MemTotal),
  key: async (spec) => optionsKey(spec, await imageId(daemon.docker, spec.image)),
  isFree: (run) => isFree(daemon, run),
  startSlot: (spec, signal) => startSlot(daemon, places, spec, signal),
  slots: async () =>
    (await listSlots(daemon)).map(({ slot = '', containerId, running, createdAt }) => ({
      slot,
      containerId,
      running,
      createdAt,
    })),
  removeSlot: (slot) => removeSlot(daemon, slot),
})
