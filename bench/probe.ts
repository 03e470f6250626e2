/** Loaded into a process of the benchmark by --import: tells its parent the heap that is in use after a collection. */
import { memoryUsage } from 'node:process'

process.on('message', (question) => {
  if (question !== 'heap') return
  globalThis.gc?.()
  process.send?.({ heap: memoryUsage().heapUsed })
})
process.channel?.unref()
