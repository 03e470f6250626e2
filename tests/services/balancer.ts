import { connect, createServer, type Socket } from 'node:net'

export type Address = { readonly host: string; readonly port: number }

const reach = (to: Address): Promise<Socket | undefined> => {
  const { promise, resolve } = Promise.withResolvers<Socket | undefined>()
  const socket = connect({ ...to, allowHalfOpen: true })
  socket.once('connect', () => resolve(socket))
  socket.on('error', () => resolve(undefined))
  return promise
}

const join = (client: Socket, remote: Socket): void => {
  for (const [from, to] of [
    [client, remote],
    [remote, client],
  ] as const) {
    from.on('error', () => to.destroy())
    from.on('close', () => to.destroy())
    from.pipe(to)
  }
}

/**
 * One address before several servers, as a Service of Kubernetes is: each connection goes to the next one that listens, and one to
 * nobody is broken off.
 */
export const openBalancer = async (at: Address, servers: readonly Address[]): Promise<AsyncDisposable> => {
  const open = new Set<Socket>()
  let turn = 0
  const pass = async (client: Socket): Promise<void> => {
    const from = turn++
    for (let n = 0; n < servers.length; n++) {
      const server = servers[(from + n) % servers.length]
      const remote = server && (await reach(server))
      if (remote) return join(client, remote)
    }
    client.resetAndDestroy()
  }
  const server = createServer({ allowHalfOpen: true }, (client) => {
    open.add(client)
    client.on('error', () => client.destroy())
    client.on('close', () => open.delete(client))
    void pass(client)
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(at, resolve))
  return {
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
