import { rm } from 'node:fs/promises'
import { connect, createServer, type NetConnectOpts, type Server, type Socket } from 'node:net'

/** A unix socket in front of a server, that can be cut: then it looks as if the server had died. */
export type CuttableProxy = AsyncDisposable & {
  /** Breaks every connection and refuses new ones. */
  cut(): Promise<void>
  restore(): Promise<void>
}

export const openCuttableProxy = async (path: string, upstream: NetConnectOpts): Promise<CuttableProxy> => {
  const open = new Set<Socket>()
  let server: Server | undefined

  const join = (client: Socket): void => {
    const remote = connect({ ...upstream, allowHalfOpen: true })
    for (const [from, to] of [
      [client, remote],
      [remote, client],
    ] as const) {
      open.add(from)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        open.delete(from)
        to.destroy()
      })
      from.pipe(to)
    }
  }
  const restore = async (): Promise<void> => {
    if (server) return
    server = createServer({ allowHalfOpen: true }, join)
    await new Promise<void>((resolve) => server?.listen(path, resolve))
  }
  const cut = async (): Promise<void> => {
    const closing = server
    server = undefined
    for (const socket of open) socket.destroy()
    if (closing) await new Promise((resolve) => closing.close(resolve))
    await rm(path, { force: true })
  }
  await restore()
  return { cut, restore, [Symbol.asyncDispose]: cut }
}
