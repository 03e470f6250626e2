/**
 * Hands on what has come while the reader was busy as one piece: a slow reader gets few large pieces instead of many small ones.
 * Nothing waits: the first chunk leaves at once. At `maxBytes` waiting the source is not read any further (a piece may be larger by one
 * chunk). Ends and fails as the source does, after what came before.
 */
export async function* gather(source: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Uint8Array> {
  let waiting: Uint8Array[] = []
  let bytes = 0
  let over = false
  let came = Promise.withResolvers<void>()
  let taken = Promise.withResolvers<void>()
  const read = async () => {
    for await (const chunk of source) {
      waiting.push(chunk)
      bytes += chunk.byteLength
      came.resolve()
      while (bytes >= maxBytes && !over) await taken.promise
      if (over) return
    }
  }
  const reading = read().finally(() => {
    over = true
    came.resolve()
  })
  // Its failure is the reader's, below.
  reading.catch(() => {})
  try {
    for (;;) {
      await came.promise
      if (waiting.length === 0) return await reading
      const piece = waiting.length === 1 ? waiting[0] : Buffer.concat(waiting)
      waiting = []
      bytes = 0
      if (!over) came = Promise.withResolvers()
      taken.resolve()
      taken = Promise.withResolvers()
      if (piece !== undefined) yield piece
    }
  } finally {
    over = true
    taken.resolve()
  }
}
