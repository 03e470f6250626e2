import { randomBytes } from 'node:crypto'
import { chmod, lstat, rename, unlink } from 'node:fs/promises'
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import type { ListenOptions } from 'node:net'
import { dirname, join } from 'node:path'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

/** Bytes of a socket's path: `sun_path` of unix(7), less the NUL at its end. */
const PATH_MAX_BYTES = 107

/** What answers requests, and what answers CONNECT: the connection is its own from then on, also to be closed. */
export type GatewayListener = {
  readonly request: RequestListener
  readonly connect: (request: IncomingMessage, client: Duplex, head: Buffer) => void
}

/**
 * Of one run's socket: everything in its container can open it, and connections are this process's descriptors. Tunnels of
 * commands (128), the runner's own, and as many again.
 */
const CONNECTIONS_PER_RUN = 256

/** Milliseconds for the words that what is ended gets, and between two looks for connections that wait for another request. */
const LAST_WORDS_MS = 1_000
const IDLE_MS = 50

const listen = async ({ request, connect }: GatewayListener, options: ListenOptions): Promise<Server> => {
  const server = createServer(request)
  server.on('connect', connect)
  const listening = Promise.withResolvers<void>()
  server.once('error', listening.reject)
  server.listen(options, listening.resolve)
  await listening.promise
  return server
}

/** Ways to leave. */
type Closing = {
  /** Takes nothing new, and waits until what is in hand has been answered; `ms` at most. */
  drain(ms: number): Promise<void>
  /** For what was ended, not answered: it is still told so, and everything is closed. */
  close(): Promise<void>
}

const createClosing = (server: Server): Closing => {
  let closed: Promise<void> | undefined
  const drain = async (ms: number) => {
    closed ??= new Promise((resolve) => server.close(() => resolve()))
    const idle = setInterval(() => server.closeIdleConnections(), IDLE_MS)
    const late = new AbortController()
    await Promise.race([closed, sleep(ms, undefined, { signal: late.signal }).catch(() => undefined)])
    late.abort()
    clearInterval(idle)
  }
  const close = async () => {
    await drain(LAST_WORDS_MS)
    server.closeAllConnections()
    await closed
  }
  return { drain, close }
}

export type Listening = AsyncDisposable & Pick<Closing, 'drain'> & { readonly port: number }

export const listenTcp = async (listener: GatewayListener, host: string, port: number): Promise<Listening> => {
  const server = await listen(listener, { host, port })
  const address = server.address()
  const { drain, close } = createClosing(server)
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    drain,
    [Symbol.asyncDispose]: close,
  }
}

const inodeOf = (path: string): Promise<bigint | undefined> =>
  lstat(path, { bigint: true }).then(
    (entry) => entry.ino,
    () => undefined,
  )

/**
 * Listens at a path where an earlier owner may have left its socket, or may still listen: bound under another name and
 * renamed, so that the change is one step, and so that the earlier owner, when it closes, cannot take our socket away.
 * Any user may connect; the directory decides who comes that far.
 */
export const listenUnix = async (listener: GatewayListener, path: string): Promise<AsyncDisposable> => {
  const bytes = Buffer.byteLength(path)
  if (bytes > PATH_MAX_BYTES)
    throw new Error(
      `the gateway socket ${path} has a path of ${bytes} bytes, more than the ${PATH_MAX_BYTES} a unix socket may have; choose a shorter WORKSPACES_ROOT`,
    )
  const name = randomBytes(3).toString('hex')
  const bound = join(dirname(path), name)
  const server = await listen(listener, { path: bound })
  server.maxConnections = CONNECTIONS_PER_RUN
  const { close } = createClosing(server)
  try {
    await chmod(bound, 0o666)
    await rename(bound, path)
  } catch (error) {
    await close()
    throw error
  }
  const ours = await inodeOf(path)
  return {
    [Symbol.asyncDispose]: async () => {
      await close()
      if ((await inodeOf(path)) === ours) await unlink(path).catch(() => undefined)
    },
  }
}
