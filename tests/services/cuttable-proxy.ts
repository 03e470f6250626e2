import { rm } from 'node:fs/promises'
import { connect, createServer, type NetConnectOpts, type Server, type Socket } from 'node:net'

/** A socket in front of a server, that can be cut: then it looks as if the server had died. */
export type CuttableProxy = AsyncDisposable & {
  /** Breaks every connection and refuses new ones. */
  cut(): Promise<void>
  restore(): Promise<void>
  /** Breaks every connection; new ones are well. */
  drop(): void
  /** Every connection there is stays open, and nothing comes through it any more, not even its end. New ones are well. */
  hang(): void
}

/** @param at a path, or an address whose port is free (`freePort`) and stays the proxy's over its cuts */
export const openCuttableProxy = async (
  at: string | { readonly host: string; readonly port: number },
  upstream: NetConnectOpts,
): Promise<CuttableProxy> => {
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
    const next = createServer({ allowHalfOpen: true }, join)
    const where = typeof at === 'string' ? { path: at } : at
    await new Promise<void>((resolve, reject) => next.once('error', reject).listen(where, resolve))
    server = next
  }
  const drop = (): void => {
    for (const socket of open) socket.destroy()
  }
  const cut = async (): Promise<void> => {
    const closing = server
    server = undefined
    drop()
    if (closing) await new Promise((resolve) => closing.close(resolve))
    if (typeof at === 'string') await rm(at, { force: true })
  }
  const hang = (): void => {
    for (const socket of open) socket.unpipe().pause()
  }
  await restore()
  return { cut, restore, drop, hang, [Symbol.asyncDispose]: cut }
}
