import { request } from 'node:http'

export type SseEvent = { readonly event: string; readonly data: string; readonly at: bigint }

/** Splits a stream into frames and gives each its time of arrival (nanoseconds, CLOCK_MONOTONIC). */
const frames = async function* (body: AsyncIterable<Buffer>): AsyncGenerator<SseEvent> {
  let rest = ''
  for await (const chunk of body) {
    const at = process.hrtime.bigint()
    rest += chunk.toString()
    const parts = rest.split('\n\n')
    rest = parts.pop() ?? ''
    for (const part of parts) {
      const fields = part.split('\n')
      const event = fields.find((f) => f.startsWith('event: '))?.slice(7)
      const data = fields.find((f) => f.startsWith('data: '))?.slice(6)
      if (event !== undefined && data !== undefined) yield { event, data, at }
    }
  }
}

/** Asks for an event stream and yields its frames; a plain socket, so that the client costs next to nothing. */
export const openSse = async function* (
  url: string,
  options: { readonly method?: string; readonly body?: unknown; readonly signal?: AbortSignal } = {},
): AsyncGenerator<SseEvent> {
  const body = options.body === undefined ? undefined : JSON.stringify(options.body)
  const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
    const req = request(url, {
      method: options.method ?? 'GET',
      headers: { accept: 'text/event-stream', ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(options.signal && { signal: options.signal }),
    })
    req.once('response', resolve)
    req.once('error', reject)
    req.end(body)
  })
  if (response.statusCode !== 200) throw new Error(`${url} answered ${response.statusCode}`)
  try {
    yield* frames(response)
  } finally {
    response.destroy()
  }
}
