import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

/** Every file that is loaded with this one, types aside. */
const loaded = (file: URL, seen = new Set<string>()): Set<string> => {
  if (seen.has(file.href)) return seen
  seen.add(file.href)
  const source = readFileSync(fileURLToPath(file), 'utf8')
  for (const [, specifier = ''] of source.matchAll(/^(?:import|export) (?!type)[^'"]*from '([^']+)'/gm)) {
    if (specifier.startsWith('.')) loaded(new URL(specifier, file), seen)
    else if (specifier.startsWith('#')) loaded(new URL(`../../src/${specifier.slice(1)}`, import.meta.url), seen)
    else seen.add(specifier)
  }
  return seen
}

test('the event log of a runner brings nothing along but the driver: no run store, no run logs, no schemas', () => {
  const files = [...loaded(new URL('../../src/store/mongodb-event-log.ts', import.meta.url))]
  const packages = files.filter((file) => !file.startsWith('file:') && !file.startsWith('node:'))
  assert.deepEqual(packages, ['mongodb'])
  const names = files.map((file) => file.split('/').at(-1) ?? '')
  assert.ok(names.includes('append.ts'))
  for (const name of names) assert.doesNotMatch(name, /run|accept|session|index|sqlite|logs/)
})
