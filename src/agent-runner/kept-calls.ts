import { connect, type NetConnectOpts, type Socket } from 'node:net'

/** One question. `path` and `headers` are plain ASCII without line breaks. */
export type Call = { readonly method: 'GET' | 'POST'; readonly path: string; readonly body?: string }

export type Answer = { readonly status: number; readonly body: string }

/** The first lines of an answer. */
export type AnswerHead = {
  readonly status: number
  /** Where its body begins, and how long that is, bytes. */
  readonly bodyAt: number
  readonly length: number
  /** For how long the other side keeps an idle connection, milliseconds; 0 = it closes it. */
  readonly keepMs: number
}

const HEAD_MAX_BYTES = 16 * 1024

/** Before the other side closes an idle connection, it is not used any more: what is written then would be lost. */
const EARLY_MS = 1_000

/** Where the other side does not say: Node's own default. */
const KEEP_MS = 5_000

/**
 * What has come of an answer, as far as it is the head of one with a length: the gateway gives no other.
 * @returns undefined while it is not whole. Throws on anything else.
 */
export const readHead = (bytes: Buffer): AnswerHead | undefined => {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0 && bytes.length <= HEAD_MAX_BYTES) return undefined
  const head = bytes.toString('latin1', 0, Math.max(end, 0))
  const status = /^HTTP\/1\.1 ([2-5]\d\d)\b/.exec(head)?.[1]
  const length = /\r\ncontent-length: *(\d+) *(?:\r\n|$)/i.exec(head)?.[1]
  if (status === undefined || length === undefined || /\r\ntransfer-encoding:/i.test(head))
    throw new Error('what answered is no gateway: an answer of HTTP/1.1 with a content-length was expected')
  const closes = /\r\nconnection: *close *(?:\r\n|$)/i.test(head)
  const seconds = /\r\nkeep-alive:[^\r]*\btimeout=(\d+)/i.exec(head)?.[1]
  const keepMs = seconds === undefined ? KEEP_MS : Number(seconds) * 1_000
  return { status: Number(status), bodyAt: end + 4, length: Number(length), keepMs: closes ? 0 : keepMs }
}

type Idle = { readonly socket: Socket; readonly until: number }

const noop = () => {}

/** Whether the connection may be used again is said when the answer is there. */
const ask = (socket: Socket, text: string, signal: AbortSignal): Promise<Answer & { readonly keepMs: number }> => {
  const { promise, resolve, reject } = Promise.withResolvers<Answer & { readonly keepMs: number }>()
  const parts: Buffer[] = []
  let size = 0
  let head: AnswerHead | undefined
  const whole = () => {
    head ??= readHead(Buffer.concat(parts))
    if (head === undefined || size < head.bodyAt + head.length) return
    if (size > head.bodyAt + head.length) throw new Error('the gateway said more than it was asked')
    const { status, bodyAt, keepMs } = head
    resolve({ status, body: Buffer.concat(parts).toString('utf8', bodyAt), keepMs })
  }
  const onData = (part: Buffer) => {
    parts.push(part)
    size += part.length
    try {
      whole()
    } catch (error) {
      reject(error)
    }
  }
  const onClose = () => reject(new Error('the gateway closed the connection before it had answered'))
  const onAbort = () => reject(signal.reason)
  socket.on('data', onData).on('error', reject).on('close', onClose)
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  else socket.write(text)
  return promise.finally(() => {
    socket.off('data', onData).off('error', reject).off('close', onClose)
    signal.removeEventListener('abort', onAbort)
  })
}

const textOf = ({ method, path, body }: Call, headers: string): string => {
  const length =
    body === undefined ? '' : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n`
  return `${method} ${path} HTTP/1.1\r\n${headers}${length}\r\n${body ?? ''}`
}

/**
 * Questions to the gateway by HTTP/1.1 over kept connections, one at a time on each. By hand, because an event's way to its
 * reader leads through here: with node:http the question alone costs twice as much as its whole way there and back.
 * Rejects when the answer did not come whole; the question may have been heard then.
 * @param headers lines of every question, each with its line break; `host` among them
 */
export const createKeptCalls = (address: NetConnectOpts, headers: string) => {
  const idle: Idle[] = []

  const open = (): Socket => {
    const socket = connect({ ...address, noDelay: true })
    socket.on('error', noop)
    socket.on('close', () => {
      const at = idle.findIndex((one) => one.socket === socket)
      if (at >= 0) idle.splice(at, 1)
    })
    return socket
  }
  const reuse = (): Socket | undefined => {
    for (let one = idle.pop(); one !== undefined; one = idle.pop()) {
      if (performance.now() < one.until && one.socket.writable) return one.socket.ref()
      one.socket.destroy()
    }
    return undefined
  }
  return async (call: Call, signal: AbortSignal): Promise<Answer> => {
    signal.throwIfAborted()
    const socket = reuse() ?? open()
    try {
      const { status, body, keepMs } = await ask(socket, textOf(call, headers), signal)
      if (keepMs > EARLY_MS) idle.push({ socket: socket.unref(), until: performance.now() + keepMs - EARLY_MS })
      else socket.destroy()
      return { status, body }
    } catch (error) {
      socket.destroy()
      throw error
    }
  }
}
