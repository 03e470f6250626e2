import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { drawDots } from '../../bench/charts/dots.ts'
import { drawLines, spreadOut } from '../../bench/charts/lines.ts'
import { scaleFor, shortNumber } from '../../bench/charts/scale.ts'

describe('charts of the benchmark', () => {
  test('a logarithmic scale has its ticks at round numbers around the values', () => {
    const { ticks, at } = scaleFor('log', [3, 4_000], [0, 100])
    assert.deepEqual(ticks, [1, 10, 100, 1_000, 10_000])
    assert.deepEqual([at(1), at(10_000)], [0, 100])
    assert.equal(at(100), 50)
  })

  test('a linear scale begins at zero', () => {
    const { ticks, at } = scaleFor('linear', [30, 190], [0, 100])
    assert.equal(ticks[0], 0)
    assert.ok((ticks.at(-1) ?? 0) >= 190)
    assert.equal(at(0), 0)
  })

  test('values that a scale cannot show are refused rather than drawn somewhere', () => {
    assert.throws(() => scaleFor('log', [0, Number.NaN], [0, 1]), /without values/)
  })

  test('labels that would cover each other are moved apart, none beyond the plot', () => {
    const places = spreadOut([100, 101, 399, 400], 17).sort((a, b) => a - b)
    for (const [n, place] of places.entries()) assert.ok(n === 0 || place - (places[n - 1] ?? 0) >= 17)
    assert.ok((places.at(-1) ?? 0) <= 400)
  })

  test('numbers are short', () => {
    assert.deepEqual([0.05, 7, 1_234, 12_345, 1_000_000].map(shortNumber), ['0.05', '7', '1230', '12.3k', '1M'])
  })

  test('names are text in the picture, whatever they contain', () => {
    const words = { file: 'x', title: '<script>', subtitle: 'a & b', x: { label: 'ms', scale: 'log' } as const }
    const marks = [{ label: 'p50', value: 2 }]
    const dots = drawDots({ ...words, kind: 'dots', rows: [{ name: '"q" <b>', group: 'ours', marks }] })
    const y = { label: 'n', scale: 'log' } as const
    const lines = drawLines({ ...words, kind: 'lines', y, series: [{ name: '</svg>', points: [[1, 2]] }] })
    for (const svg of [dots, lines]) {
      assert.ok(!svg.includes('<script>') && !svg.includes('<b>'))
      assert.equal(svg.split('</svg>').length, 2)
      assert.match(svg, /prefers-color-scheme: dark/)
    }
  })
})
