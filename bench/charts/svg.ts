/** The parts that all pictures share. Colours follow the reader's light or dark scheme. */

export const WIDTH = 860

const COLOURS = 8

const STYLE = `
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 17px; font-weight: 600 } .subtitle, .tick, .axis { fill: #57606a } .tick { font-size: 12px }
.value { font-size: 11px; fill: #57606a }
.back { fill: #ffffff } .grid { stroke: #d0d7de; stroke-width: 1 } .range { stroke-width: 3; opacity: .35 }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round } .halo { stroke: #ffffff; stroke-width: 1.5 }
.c0 { --c: #0969da } .c1 { --c: #bc4c00 } .c2 { --c: #1a7f37 } .c3 { --c: #8250df } .c4 { --c: #bf3989 } .c5 { --c: #6e7781 } .c6 { --c: #0a8a8a } .c7 { --c: #9a6700 }
.stroke { stroke: var(--c) } .fill { fill: var(--c) }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .subtitle, .tick, .axis, .value { fill: #9198a1 } .back { fill: #0d1117 } .grid { stroke: #30363d }
.halo { stroke: #0d1117 }
.c0 { --c: #58a6ff } .c1 { --c: #f0883e } .c2 { --c: #3fb950 } .c3 { --c: #bc8cff } .c4 { --c: #f778ba } .c5 { --c: #9198a1 } .c6 { --c: #39c5cf } .c7 { --c: #d4a72c }
}`

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

export const escapeXml = (text: string): string => text.replace(/[&<>"]/g, (char) => ENTITIES[char] ?? char)

const px = (value: number): string => value.toFixed(1)

export type TextOptions = {
  readonly kind?: string
  readonly anchor?: 'start' | 'middle' | 'end'
  readonly more?: string
}

export const text = (x: number, y: number, words: string, { kind, anchor, more }: TextOptions = {}): string =>
  `<text x="${px(x)}" y="${px(y)}"${kind ? ` class="${kind}"` : ''}${anchor ? ` text-anchor="${anchor}"` : ''}${more ?? ''}>${escapeXml(words)}</text>`

export const line = (x1: number, y1: number, x2: number, y2: number, kind = 'grid'): string =>
  `<line class="${kind}" x1="${px(x1)}" y1="${px(y1)}" x2="${px(x2)}" y2="${px(y2)}"/>`

export const dot = (x: number, y: number, colour: number, radius = 5): string =>
  `<circle class="c${colour % COLOURS} fill halo" cx="${px(x)}" cy="${px(y)}" r="${radius}"/>`

export const path = (points: readonly (readonly [number, number])[], colour: number): string =>
  `<path class="c${colour % COLOURS} line stroke" d="${points.map(([x, y], n) => `${n === 0 ? 'M' : 'L'}${px(x)} ${px(y)}`).join(' ')}"/>`

/** A whole picture, with what a reader who cannot see it is told. */
export const picture = (height: number, title: string, subtitle: string, parts: readonly string[]): string =>
  [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    `<title>${escapeXml(title)}</title><desc>${escapeXml(subtitle)}</desc>`,
    `<style>${STYLE}\n</style>`,
    `<rect class="back" width="${WIDTH}" height="${height}"/>`,
    text(20, 30, title, { kind: 'title' }),
    text(20, 50, subtitle, { kind: 'subtitle' }),
    ...parts,
    '</svg>\n',
  ].join('\n')
