import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { configurationPage, envExample, SECTIONS } from '#main/config-docs.ts'

const root = new URL('../../', import.meta.url)
const read = (path: string) => readFile(new URL(path, root), 'utf8')
const REMEDY = 'run `node scripts/write-docs.ts`'

test('.env.example lists every variable there is', async () => {
  assert.ok((await read('.env.example')) === envExample(), REMEDY)
})

test('docs/configuration.md says what the tables say', async () => {
  assert.ok((await read('docs/configuration.md')) === configurationPage(), REMEDY)
})

test('every variable that the compose file reads is in .env.example', async () => {
  const compose = await read('docker-compose.yml')
  const used = new Set([...compose.matchAll(/(?<!\$)\$\{([A-Z_]+)/g)].map(([, name = '']) => name))
  // Set by Compose itself.
  for (const name of ['PWD', 'COMPOSE_PROJECT_NAME']) used.delete(name)
  const listed = new Set([...envExample().matchAll(/^#([A-Z_0-9]+)=/gm)].map(([, name]) => name))
  assert.deepEqual(
    [...used].filter((name) => !listed.has(name)),
    [],
  )
})

test('no variable is described twice', () => {
  const names = SECTIONS.flatMap(({ variables }) => Object.keys(variables))
  assert.equal(new Set(names).size, names.length)
})

test('every default obeys its own rule', () => {
  for (const { variables } of SECTIONS) {
    for (const [name, { fallback, shape }] of Object.entries(variables)) {
      if (fallback !== undefined) assert.ok(shape.safeParse(fallback).success, name)
    }
  }
})
