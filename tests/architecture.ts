import { join } from 'node:path'
import { specifiersOf, withoutComments } from './runner/imports.ts'

export type Violation = { readonly file: string; readonly rule: string; readonly what: string }

type Source = { readonly file: string; readonly source: string }

/** What each room may import from others: a whole room, or the files that match. `main` may import everything. */
const ARROWS: Record<string, Record<string, RegExp>> = {
  contracts: {},
  store: { contracts: /./ },
  queue: { contracts: /./ },
  models: { contracts: /./ },
  api: { contracts: /./, store: /./, queue: /^job-queue\.ts$/ },
  scheduler: { contracts: /./, store: /./, queue: /^job-queue\.ts$/, models: /./ },
  'agent-runner': { contracts: /./, models: /./, store: /^event-log\.ts$/ },
}

/** An adapter is named after its technology; only `main` chooses one. */
const ADAPTER = /(?:^|\/)(?:mongodb|sqlite|bullmq|redis|in-process|docker|kubernetes|process)(?:-[a-z-]+)?\.ts$/

/** Packages that only one place may know. */
const DRIVERS: Record<string, RegExp> = {
  mongodb: /^src\/(?:store|main)\//,
  bullmq: /^src\/queue\//,
  ioredis: /^src\/queue\//,
  dockerode: /^src\/scheduler\/engines\//,
  '@kubernetes': /^src\/scheduler\/engines\/kubernetes-connect\.ts$/,
  fastify: /^src\/api\//,
  '@fastify': /^src\/api\//,
}

const MAX_LINES = 250

const roomOf = (file: string) => /^src\/([^/]+)\//.exec(file)?.[1]

const isPackage = (specifier: string) => !/^(?:[.#]|node:)/.test(specifier)

const packageOf = (specifier: string) => specifier.split('/')[0] ?? ''

const arrows = (room: string, specifier: string): string | undefined => {
  const [, target = '', path = ''] = /^#([^/]+)\/(.+)$/.exec(specifier) ?? []
  if (target === '' || room === 'main' || target === room) return undefined
  const allowed = ARROWS[room]?.[target]
  if (allowed === undefined || !allowed.test(path)) return `${room} may not import ${specifier}`
  return ADAPTER.test(path) ? `only main chooses adapters: ${specifier}` : undefined
}

/** Within a room too an adapter is known to its own parts only. */
const adapters = (file: string, room: string, specifier: string): string | undefined => {
  if (!specifier.startsWith('.') || room === 'main' || room === 'agent-runner') return undefined
  return ADAPTER.test(specifier) && !ADAPTER.test(file) ? `only adapters import adapters: ${specifier}` : undefined
}

const drivers = (file: string, room: string, specifier: string): string | undefined => {
  if (!isPackage(specifier)) return undefined
  if (room === 'contracts') return specifier === 'zod' ? undefined : `contracts imports zod only, not ${specifier}`
  const home = DRIVERS[packageOf(specifier)]
  return home === undefined || home.test(file) ? undefined : `${specifier} belongs to ${home.source}`
}

const paths = (file: string, room: string, specifier: string): string | undefined => {
  if (isPackage(specifier) || specifier.startsWith('node:')) return undefined
  if (room === 'main' && specifier === '../../package.json') return undefined
  if (!specifier.endsWith('.ts')) return `${specifier} wants its .ts ending`
  if (specifier.startsWith(`#${room}/`)) return `${specifier} is the own room: use ./`
  if (!specifier.startsWith('.')) return undefined
  return roomOf(join(file, '..', specifier)) === room ? undefined : `${specifier} leaves the room: use #room/`
}

const brokenImports = (file: string, room: string, source: string): Violation[] =>
  specifiersOf(source).flatMap((specifier) => {
    const found = {
      arrows: arrows(room, specifier),
      adapters: adapters(file, room, specifier),
      drivers: drivers(file, room, specifier),
      paths: paths(file, room, specifier),
    }
    return Object.entries(found).flatMap(([rule, what]) => (what === undefined ? [] : [{ file, rule, what }]))
  })

const brokenText = (file: string, room: string, source: string): Violation[] => {
  const found: Violation[] = []
  if (room !== 'main' && /\bprocess\.env\b/.test(withoutComments(source))) {
    found.push({ file, rule: 'environment', what: 'only main reads process.env' })
  }
  if (file.endsWith('/index.ts') || /^\s*export\b[^;'"]*\bfrom\s*['"]/m.test(source)) {
    found.push({ file, rule: 'barrels', what: 'import from the file that has it' })
  }
  return found
}

// A reason is a text: a bare `skip: true`, `.skip(`, `.todo(` or `.only(` has none.
const SILENT_SKIP = /\b(?:it|test|describe)\.(?:skip|todo|only)\(|\b(?:skip|todo|only): true\b/

/** Which rules of the house a file breaks. `file` is its path from the top, with slashes. */
export const violationsOf = ({ file, source }: Source): Violation[] => {
  const room = roomOf(file)
  const found = room === undefined ? [] : [...brokenImports(file, room, source), ...brokenText(file, room, source)]
  const lines = source.trimEnd().split('\n').length
  if (lines > MAX_LINES) found.push({ file, rule: 'length', what: `${lines} lines; ${MAX_LINES} are the most` })
  if (/\.test\.ts$/.test(file) && !file.startsWith('tests/architecture') && SILENT_SKIP.test(source)) {
    found.push({ file, rule: 'skips', what: 'a skipped test says why' })
  }
  return found
}
