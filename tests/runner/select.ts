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

/** It takes the cluster's only node away. */
const ALONE = ['tests/scheduler/engines/kubernetes-lost-node.test.ts']

/**
 * What runs together, one group after the other. Tests on a cluster come last, so that it only takes from this machine what is
 * needed then; and each of those that others cannot stand has a group of its own.
 */
export const groupsOf = (
  files: readonly string[],
  onCluster: (file: string) => boolean,
): { readonly first: readonly string[]; readonly onCluster: readonly (readonly string[])[] } => {
  const isAlone = (file: string) => ALONE.includes(relative(ROOT, file))
  const clustered = files.filter(onCluster)
  const groups = [clustered.filter((file) => !isAlone(file)), ...clustered.filter(isAlone).map((file) => [file])]
  return {
    first: files.filter((file) => !clustered.includes(file)),
    onCluster: groups.filter(({ length }) => length > 0),
  }
}
