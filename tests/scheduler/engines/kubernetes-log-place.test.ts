import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createLogPlace, type LogPlace, ROTATED } from '#scheduler/engines/kubernetes-log-place.ts'

/** What a node keeps of one line, or of a part of one: its own stamp, which it shows where a line begins. */
type Entry = { readonly at: string; readonly text: string }

/** The output a node gives from that second on, as it was tried on Kubernetes 1.35. */
const shown = (entries: readonly Entry[], sinceTime = ''): Buffer => {
  let isNewLine = true
  let text = ''
  for (const entry of entries) {
    if (entry.at >= sinceTime.slice(0, 19)) text += isNewLine ? `${entry.at} ${entry.text}` : entry.text
    isNewLine = entry.text.endsWith('\n')
  }
  return Buffer.from(text)
}

const plain = (entries: readonly Entry[]): string => entries.map(({ text }) => text).join('')

const at = (seconds: number): string => `${new Date(seconds * 1000).toISOString().slice(0, -1)}000000Z`

const read = (place: LogPlace, bytes: Buffer, piece = bytes.length): string => {
  let text = ''
  for (let from = 0; from < bytes.length; from += piece)
    text += Buffer.from(place.take(bytes.subarray(from, from + piece)))
  return text
}

/** Both outputs at once, lines in many parts, empty ones, and what looks like a stamp inside of one. */
const OUTPUT: readonly Entry[] = [
  { at: at(10.1), text: 'one\n' },
  { at: at(10.103), text: 'two\n' },
  { at: at(10.102), text: 'from the other output\n' },
  { at: at(10.104), text: '\n' },
  { at: at(10.9), text: 'a long line ' },
  { at: at(11.2), text: `${at(11.5)} that goes on ` },
  { at: at(11.3), text: 'and ends\n' },
  { at: at(11.3), text: 'same\n' },
  { at: at(11.3), text: 'same\n' },
  { at: at(12.01), text: 'a second later\n' },
  { at: at(11.99), text: 'written before, shown after\n' },
  { at: at(12.02), text: `${at(9)} a line that begins like one\n` },
  { at: at(15.5), text: 'no end of line' },
]

describe('a place in the output of a container', () => {
  test('stamps are taken out, however the output is cut into pieces', () => {
    const bytes = shown(OUTPUT)
    for (const piece of [1, 2, 7, 31, 36, 100, bytes.length]) {
      assert.equal(read(createLogPlace(), bytes, piece), plain(OUTPUT), `pieces of ${piece}`)
    }
  })

  test('a stream that broke after any byte is gone on with: nothing is lost, nothing is told twice', () => {
    const bytes = shown(OUTPUT)
    for (let cut = 0; cut <= bytes.length; cut++) {
      const place = createLogPlace()
      const first = read(place, bytes.subarray(0, cut))
      const rest = shown(OUTPUT, place.resume().sinceTime)
      assert.equal(first + read(place, rest, 5), plain(OUTPUT), `cut after ${cut} bytes`)
    }
  })

  test('and again when the next one breaks as well', () => {
    const bytes = shown(OUTPUT)
    for (let cut = 3; cut < bytes.length; cut += 11) {
      const place = createLogPlace()
      let text = read(place, bytes.subarray(0, cut))
      for (let length = 1; length < bytes.length; length += 13) {
        text += read(place, shown(OUTPUT, place.resume().sinceTime).subarray(0, length))
      }
      text += read(place, shown(OUTPUT, place.resume().sinceTime))
      assert.equal(text, plain(OUTPUT), `cut after ${cut} bytes`)
    }
  })

  test('only what is near the end is asked for again', () => {
    const place = createLogPlace()
    assert.deepEqual(place.resume(), {})
    read(place, shown(OUTPUT))
    assert.equal(shown(OUTPUT, place.resume().sinceTime).toString(), `${at(15.5)} no end of line`)
  })

  test('a clock that was set back before the cut', () => {
    const output = [...OUTPUT.slice(0, 9), { at: at(3.5), text: 'back\n' }, { at: at(3.6), text: 'and on\n' }]
    const place = createLogPlace()
    const first = read(place, shown(output.slice(0, 10)))
    assert.equal(first + read(place, shown(output, place.resume().sinceTime)), plain(output))
  })

  test('what was rotated away meanwhile is said, once, and the output goes on behind it', () => {
    const place = createLogPlace()
    const first = read(place, shown(OUTPUT.slice(0, 2)))
    const { sinceTime } = place.resume()
    const rest = OUTPUT.slice(7, 10)
    assert.equal(first + read(place, shown(rest, sinceTime)), `one\ntwo\n${ROTATED}${plain(rest)}`)
    const again = OUTPUT.slice(7, 11)
    assert.equal(read(place, shown(again, place.resume().sinceTime)), plain(again.slice(3)))
  })

  test('words of the node that have no stamp are output like any other', () => {
    const words = 'failed to watch file "0.log": no space left on device'
    const bytes = Buffer.concat([shown(OUTPUT.slice(0, 2)), Buffer.from(`${words}\n`)])
    assert.equal(read(createLogPlace(), bytes, 9), `one\ntwo\n${words}\n`)
  })
})
