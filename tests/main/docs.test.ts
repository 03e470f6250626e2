import assert from 'node:assert/strict'
import { existsSync, globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { CAUSE_NAMES } from '#contracts/causes.ts'
import { EGRESS_SETS } from '#contracts/egress-sets.ts'
import { FRAMEWORK_NAMES } from '#contracts/frameworks.ts'
import { WARM_MISSES } from '#contracts/warm.ts'
import { COMPOSE } from '#main/config-compose-variables.ts'
import { SECTIONS } from '#main/config-docs.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const PAGES = globSync(['*.md', 'docs/**/*.md', 'tests/*.md'], { cwd: ROOT })

const read = (page: string) => readFile(join(ROOT, page), 'utf8')

test('every link from page to page leads somewhere', async () => {
  const broken: string[] = []
  for (const page of PAGES) {
    for (const [, target = ''] of (await read(page)).matchAll(/\]\((?!https?:|#)([^)#\s]+)[^)]*\)/g)) {
      if (!existsSync(join(ROOT, dirname(page), target))) broken.push(`${page}: ${target}`)
    }
  }
  assert.deepEqual(broken, [])
})

test('every make target that a page names exists', async () => {
  const targets = new Set([...(await read('Makefile')).matchAll(/^([a-z-]+):/gm)].map(([, name]) => name))
  const missing: string[] = []
  for (const page of PAGES) {
    for (const [, name = ''] of (await read(page)).matchAll(/(?:`|^|\s{2})make ([a-z-]+)(?=[`\s]|$)/gm)) {
      if (!targets.has(name)) missing.push(`${page}: make ${name}`)
    }
  }
  assert.deepEqual(missing, [])
})

test('every source file that a page names exists', async () => {
  const missing: string[] = []
  for (const page of PAGES) {
    for (const [, path = ''] of (await read(page)).matchAll(/`((?:src|tests|docs|scripts|infra)\/[\w./*-]+)`/g)) {
      if (!path.includes('/x/') && globSync(path, { cwd: ROOT }).length === 0) missing.push(`${page}: ${path}`)
    }
  }
  assert.deepEqual(missing, [])
})

test('every decision is in the list of decisions, under its own title', async () => {
  const list = await read('docs/adr/README.md')
  for (const page of PAGES.filter((path) => /adr\/\d/.test(path))) {
    const [title = ''] = (await read(page)).split('\n')
    assert.ok(list.includes(`- [${title.replace('# ', '')}](${page.slice('docs/adr/'.length)})`), page)
  }
})

test('the named sets of hosts are the ones that operations.md lists', async () => {
  const [, table = ''] = /\| set \| for \| hosts \|\n(.*?)\n\n/s.exec(await read('docs/operations.md')) ?? []
  const listed = [...table.matchAll(/^\| `(\w+)` \| .+ \| (`.+`) \|$/gm)].map(([, name = '', hosts = '']) => [
    name,
    [...hosts.matchAll(/`([^`]+)`/g)].map(([, host]) => host),
  ])
  assert.deepEqual(Object.fromEntries(listed), EGRESS_SETS)
})

test('variables, frameworks and causes that the pages name are the ones there are', async () => {
  const [readme, operations, changelog] = await Promise.all(
    ['README.md', 'docs/operations.md', 'CHANGELOG.md'].map(read),
  )
  const known = new Set([...SECTIONS.flatMap(({ variables }) => Object.keys(variables)), ...Object.keys(COMPOSE)])
  const named = [...`${operations}`.matchAll(/`([A-Z][A-Z_]{5,})(?:=[^`]*)?`/g)].map(([, name = '']) => name)
  assert.deepEqual(
    named.filter((name) => !known.has(name) && name !== 'SIGTERM'),
    [],
  )
  for (const framework of FRAMEWORK_NAMES) assert.ok(readme?.includes(`\`${framework}\``), framework)
  assert.equal(CAUSE_NAMES.length, 16)
  assert.match(`${changelog}`, /one of sixteen causes/)
})

test('every reason for a cold start is in the table of operations.md, and no other', async () => {
  const page = await read('docs/operations.md')
  const table = page.slice(page.indexOf('| `miss` |'), page.indexOf('While such a run lives'))
  const named = [...table.matchAll(/^\| `([a-z_]+)` \|/gm)].map(([, name]) => name)
  assert.deepEqual(
    named.filter((name) => name !== 'miss'),
    [...WARM_MISSES],
  )
})
