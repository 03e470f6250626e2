import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A TCP port in front of a server on this machine, that can stop passing on what is sent to it. */
export type DeafProxy = AsyncDisposable & {
  readonly port: number
  /** True: connections stay open and nothing that is said on them arrives; what was not heard never is. */
  deaf: boolean
}

export const openDeafProxy = async (upstreamPort: number): Promise<DeafProxy> => {
  const sockets = new Set<Socket>()
  const server = createServer((client) => join(client))
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const proxy: DeafProxy = {
    port: (server.address() as AddressInfo).port,
    deaf: false,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
  const join = (client: Socket): void => {
    const upstream = connect(upstreamPort, '127.0.0.1')
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from)
      from.on('error', () => {})
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
    }
    client.on('data', (chunk: Buffer) => void (proxy.deaf || upstream.write(chunk)))
    upstream.on('data', (chunk: Buffer) => void client.write(chunk))
  }
  return proxy
}
