import { connect, type Socket } from 'node:net'

/** What one follower got: the moment each event was handed to the sink, and when it was here. */
export type OnEvent = (sent: bigint, at: bigint) => void

export type Followers = { readonly size: number } & Disposable

const STAMP = /"message":"(\d+)"/

/** A plain socket and no HTTP parser, so that thousands of followers cost the client little. */
const follow = (url: URL, source: string, onEvent: OnEvent | undefined): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: url.hostname, port: Number(url.port), localAddress: source })
    socket.setNoDelay()
    const late = setTimeout(() => socket.destroy(new Error(`${url} did not answer within ${OPEN_MS} ms`)), OPEN_MS)
    let rest = ''
    let opened = false
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.write(
        `GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nAccept: text/event-stream\r\n\r\n`,
      )
    })
    socket.on('data', (chunk) => {
      const at = process.hrtime.bigint()
      if (!opened) {
        opened = true
        clearTimeout(late)
        const head = chunk.toString('latin1', 0, 15)
        if (!head.startsWith('HTTP/1.1 200')) return void socket.destroy(new Error(`${url} answered ${head}`))
        socket.off('error', reject)
        socket.on('error', () => {})
        resolve(socket)
      }
      if (onEvent === undefined) return
      const frames = (rest + chunk.toString('latin1')).split('\n\n')
      rest = frames.pop() ?? ''
      for (const frame of frames) {
        const stamp = STAMP.exec(frame)?.[1]
        if (stamp !== undefined) onEvent(BigInt(stamp), at)
      }
    })
  })

const OPEN_MS = 30_000
const AT_ONCE = 50
/** Followers for each source address: a pair of addresses has some 28 000 ports, and others use them too. */
const PER_ADDRESS = 4_000

/** Opens so many followers, over these URLs in turn; resolves when the answer of each has begun. */
export const openFollowers = async (urls: readonly string[], size: number, onEvent?: OnEvent): Promise<Followers> => {
  const sockets: Socket[] = []
  const open = (n: number) =>
    follow(new URL(urls[n % urls.length] ?? ''), `127.0.0.${1 + Math.floor(n / PER_ADDRESS)}`, onEvent)
  const close = () => {
    for (const socket of sockets) socket.destroy()
  }
  try {
    for (let n = 0; n < size; n += AT_ONCE) {
      const some = Array.from({ length: Math.min(AT_ONCE, size - n) }, (_, i) => open(n + i))
      sockets.push(...(await Promise.all(some)))
    }
  } catch (error) {
    close()
    throw error
  }
  return { size, [Symbol.dispose]: close }
}
