import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sleep } from '../helpers.ts'
import { type Ground, leaveFile, readLogs, soon, startSteps } from './engine-bench.ts'
import { FILLER } from './shell-runner.ts'

const BIG = 5_000_000

/** The place of the first byte that is not as `fill` prints it, or -1. */
const firstWrong = (text: string): number => {
  for (let at = 0; at < text.length; at += FILLER.length) {
    const line = text.slice(at, at + FILLER.length)
    if (!FILLER.startsWith(line)) return at
  }
  return -1
}

export const logs = (ground: () => Ground) => {
  test('output is read from its first byte, live, and again after the end', async () => {
    const { engine, newSpec } = ground()
    const spec = await newSpec()
    const { containerId } = await startSteps(ground(), engine, spec, [
      { do: 'awaitFile', file: 'go' },
      { do: 'print', text: 'went on' },
    ])
    let live = ''
    for await (const chunk of engine.logs(spec, soon())) {
      live += Buffer.from(chunk)
      if (live === `I am ${containerId}\n`) await leaveFile(spec, 'go')
    }
    assert.equal(live, `I am ${containerId}\nwent on\n`)
    assert.equal(await readLogs(engine, spec), live)
    assert.equal(await readLogs(ground().reopen(), spec), live)
  })

  test('a reader leaves by its signal while nothing comes, and the run goes on', async () => {
    const { engine, newSpec } = ground()
    const spec = await newSpec()
    await startSteps(ground(), engine, spec, [{ do: 'onTerm', code: 0 }, { do: 'hang' }])
    const stop = new AbortController()
    let chunks = 0
    for await (const _chunk of engine.logs(spec, stop.signal)) {
      chunks += 1
      setTimeout(() => stop.abort(), 50)
    }
    assert.ok(chunks >= 1)
    assert.deepEqual(await Array.fromAsync(engine.logs(spec, stop.signal)), [])
    assert.equal((await engine.find(spec))?.running, true)
  })

  test('a reader that breaks off leaves nothing open', async () => {
    const { engine, newSpec } = ground()
    const spec = await newSpec()
    await startSteps(ground(), engine, spec, [{ do: 'onTerm', code: 0 }, { do: 'hang' }])
    for await (const _chunk of engine.logs(spec, soon())) break
    await engine.remove(spec)
  })

  test('megabytes come through whole to a slow reader', async () => {
    const { engine, newSpec, logBytes: bytes = BIG, losesLastWords = false } = ground()
    const spec = await newSpec()
    const { containerId } = await startSteps(ground(), engine, spec, [
      { do: 'fill', bytes },
      ...(losesLastWords ? ([{ do: 'awaitFile', file: 'go' }] as const) : []),
    ])
    const head = `I am ${containerId}\n`
    const chunks: Uint8Array[] = []
    let length = 0
    for await (const chunk of engine.logs(spec, soon())) {
      chunks.push(chunk)
      length += chunk.length
      if (losesLastWords && length >= head.length + bytes) await leaveFile(spec, 'go')
      if (chunks.length < 100) await sleep(5)
    }
    const text = Buffer.concat(chunks).toString('latin1')
    assert.equal(text.length, head.length + bytes)
    assert.equal(firstWrong(text.slice(head.length)), -1)
  })
}
