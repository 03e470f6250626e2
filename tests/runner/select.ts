import { globSync, statSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { ROOT } from './imports.ts'

// What takes longest starts first, so that it does not run alone at the end.
const SLOW_FIRST = ['tests/e2e/', 'tests/chaos/', 'tests/scheduler/', 'tests/queue/', 'tests/store/']

const rank = (file: string) => {
  const at = SLOW_FIRST.findIndex((prefix) => relative(ROOT, file).startsWith(prefix))
  return at === -1 ? SLOW_FIRST.length : at
}

/** The files named, and the test files whose path contains a filter; all of them without one. Absolute paths, slow ones first. */
export const selectFiles = (filters: readonly string[]): string[] => {
  const named = filters
    .map((filter) => resolve(filter))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile())
  const parts = filters.map((filter) => filter.replace(/^\.\//, ''))
  const matching = globSync('tests/**/*.test.ts', { cwd: ROOT })
    .filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)))
    .sort()
    .map((file) => join(ROOT, file))
  return [...new Set([...named, ...matching])].sort((a, b) => rank(a) - rank(b))
}
