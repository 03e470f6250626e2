import assert from 'node:assert/strict'

/** One sample for each line: `name{label="value"}` → its value. Fails where a line is not of the text format. */
export const parseMetrics = (text: string): ReadonlyMap<string, number> => {
  assert.ok(text.endsWith('\n'), 'the last line ends')
  const samples = new Map<string, number>()
  for (const line of text.split('\n')) {
    if (line === '' || /^# (?:HELP|TYPE) [a-z0-9_]+ ./.test(line)) continue
    const [, series = '', value = ''] =
      /^([a-z0-9_]+(?:\{[a-z_]+="[^"\n]*"(?:,[a-z_]+="[^"\n]*")*\})?) (\S+)$/.exec(line) ?? []
    assert.notEqual(series, '', `not a sample: ${line}`)
    assert.ok(!samples.has(series), `twice: ${series}`)
    samples.set(series, value === '+Inf' ? Infinity : Number(value))
  }
  return samples
}

/** The names of the metrics, as the scrape declares them. */
export const metricNames = (text: string): string[] =>
  [...text.matchAll(/^# TYPE ([a-z0-9_]+) /gm)].map(([, name = '']) => name)

export const scrapeText = async (url: string): Promise<string> => {
  const answer = await fetch(url)
  assert.equal(answer.status, 200)
  assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  return answer.text()
}

export const scrape = async (url: string): Promise<ReadonlyMap<string, number>> => parseMetrics(await scrapeText(url))
