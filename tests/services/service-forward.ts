import { connect, createServer, type Socket } from 'node:net'
import type { Admin } from './kubernetes.ts'

type Slices = {
  readonly items: readonly {
    readonly ports?: readonly { readonly port?: number }[]
    readonly endpoints?: readonly {
      readonly addresses: readonly string[]
      readonly conditions?: { readonly ready?: boolean }
    }[]
  }[]
}

export type ServiceForward = AsyncDisposable & { readonly host: string; readonly port: number }

const endpointsOf = async (admin: Admin, namespace: string, service: string) => {
  const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?labelSelector=kubernetes.io/service-name%3D${service}`
  const { items } = await admin.ask<Slices>('GET', path)
  return items.flatMap(({ ports = [], endpoints }) =>
    (endpoints ?? [])
      .filter(({ conditions }) => conditions?.ready === true)
      .map(({ addresses: [host = ''] }) => ({ host, port: ports[0]?.port ?? 0 })),
  )
}

/**
 * Does for one Service what kube-proxy does, for clusters that have none: each connection goes to one of its ready pods, by its
 * EndpointSlices. This machine has to reach pods.
 */
export const openServiceForward = async (
  admin: Admin,
  namespace: string,
  service: string,
  host: string,
): Promise<ServiceForward> => {
  const open = new Set<Socket>()
  const join = async (client: Socket): Promise<void> => {
    const all = await endpointsOf(admin, namespace, service)
    const chosen = all[Math.floor(Math.random() * all.length)]
    if (!chosen) return void client.destroy()
    const pod = connect({ ...chosen, allowHalfOpen: true })
    open.add(pod)
    pod.on('error', () => client.destroy()).on('close', () => void (open.delete(pod) && client.destroy()))
    client.on('close', () => pod.destroy())
    pod.pipe(client)
    client.pipe(pod)
  }
  const server = createServer({ allowHalfOpen: true }, (client) => {
    open.add(client)
    client.on('error', () => client.destroy()).on('close', () => open.delete(client))
    join(client).catch(() => client.destroy())
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, host, resolve))
  const address = server.address()
  return {
    host,
    port: typeof address === 'object' && address ? address.port : 0,
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
