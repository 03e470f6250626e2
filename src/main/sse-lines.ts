import type { SessionEvent } from '#contracts/events.ts'

/** One frame of a stream of events (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
type Frame = { readonly id: string | undefined; readonly data: string }

const parseFrame = (block: string): Frame | undefined => {
  const fields = block.split('\n').map((line) => /^(id|data):\s?(.*)$/.exec(line))
  const data = fields.flatMap((field) => (field?.[1] === 'data' ? [field[2] ?? ''] : []))
  if (data.length === 0) return undefined
  return { id: fields.find((field) => field?.[1] === 'id')?.[2], data: data.join('\n') }
}

const frames = async function* (body: AsyncIterable<Uint8Array>): AsyncGenerator<Frame> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of body) {
    const blocks = (rest + decoder.decode(chunk, { stream: true })).split('\n\n')
    rest = blocks.pop() ?? ''
    for (const block of blocks) {
      const frame = parseFrame(block)
      if (frame !== undefined) yield frame
    }
  }
}

/** The stored events of a stream: frames without an id (queue position, say) are news of the moment and left out. */
export const sessionEvents = async function* (body: AsyncIterable<Uint8Array>): AsyncGenerator<SessionEvent> {
  for await (const { id, data } of frames(body)) {
    if (id === undefined) continue
    const event = JSON.parse(data) as SessionEvent & { timestamp: string }
    yield { ...event, timestamp: new Date(event.timestamp) }
  }
}
