import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

export const ROOT = resolve(import.meta.dirname, '../..')

const COMMENTS = /\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm
const STATIC = /^\s*(?:import|export)\b[^'"`;]*?from\s*['"]([^'"]+)['"]/gm
const BARE = /^\s*import\s*['"]([^'"]+)['"]/gm
const DYNAMIC = /\bimport\(\s*['"]([^'"]+)['"]/g

export const withoutComments = (source: string): string => source.replace(COMMENTS, '')

/** What a TypeScript source imports, in any of the ways there are; comments do not count. */
export const specifiersOf = (source: string): string[] => {
  const code = withoutComments(source)
  return [STATIC, BARE, DYNAMIC].flatMap((pattern) => [...code.matchAll(pattern)].map((match) => match[1] ?? ''))
}

/** The file of this repository that an import names, or `undefined` for a package. */
export const fileOf = (specifier: string, importer: string): string | undefined => {
  if (specifier.startsWith('.')) return join(dirname(importer), specifier)
  if (specifier.startsWith('#')) return join(ROOT, 'src', specifier.slice(1))
  return undefined
}

const read = (file: string): string => {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

/** These files and everything of this repository that they import, directly or not. */
export const reachable = (files: readonly string[]): Set<string> => {
  const seen = new Set<string>()
  const open = [...files]
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (seen.has(file)) continue
    seen.add(file)
    for (const specifier of specifiersOf(read(file))) {
      const next = fileOf(specifier, file)
      if (next !== undefined) open.push(next)
    }
  }
  return seen
}
