import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { describe, it } from 'node:test'
import { violationsOf } from './architecture.ts'
import { ROOT } from './runner/imports.ts'

const sourcesIn = (...patterns: string[]) =>
  globSync(patterns, { cwd: ROOT }).map((file) => ({ file, source: readFileSync(join(ROOT, file), 'utf8') }))

const rulesBrokenBy = (file: string, source: string) => violationsOf({ file, source }).map(({ rule }) => rule)

describe('the house', () => {
  it('keeps its rules', () => {
    const sources = sourcesIn('src/**/*.ts', 'tests/**/*.ts')
    assert.ok(sources.some(({ file }) => file.startsWith('src/')))
    const broken = sources.flatMap(violationsOf).map(({ file, rule, what }) => `${file}: ${rule}: ${what}`)
    assert.deepEqual(broken, [])
  })

  it('has the rooms that the rules speak of', () => {
    const rooms = new Set(globSync('src/*/*.ts', { cwd: ROOT }).map((file) => relative('src', file).split('/')[0]))
    const named = ['agent-runner', 'api', 'contracts', 'main', 'models', 'queue', 'scheduler', 'store']
    assert.deepEqual([...rooms].sort(), named)
  })
})

describe('the watch over the house', () => {
  const planted: [string, string, string, string][] = [
    ['an arrow up', 'src/store/x.ts', `import { a } from '#api/app.ts'`, 'arrows'],
    ['an arrow across', 'src/api/x.ts', `import type { A } from '#scheduler/worker.ts'`, 'arrows'],
    ['a late arrow', 'src/agent-runner/x.ts', `const a = await import('#api/app.ts')`, 'arrows'],
    ['more of the store than its port', 'src/agent-runner/x.ts', `import { a } from '#store/run-store.ts'`, 'arrows'],
    ['an adapter outside main', 'src/api/x.ts', `import { a } from '#store/mongodb.ts'`, 'arrows'],
    ['an adapter beside the port', 'src/scheduler/x.ts', `import { a } from '#queue/bullmq.ts'`, 'arrows'],
    ['an engine above its port', 'src/scheduler/x.ts', `import { a } from './engines/docker.ts'`, 'adapters'],
    ['a driver outside its adapter', 'src/scheduler/x.ts', `import { Redis } from 'ioredis'`, 'drivers'],
    ['a package in contracts', 'src/contracts/x.ts', `import { a } from 'fastify'`, 'drivers'],
    ['a way round the room door', 'src/api/x.ts', `import { a } from '../contracts/run.ts'`, 'paths'],
    ['the door to the own room', 'src/api/x.ts', `import { a } from '#api/app.ts'`, 'paths'],
    ['an import without its ending', 'src/api/x.ts', `import { a } from './app'`, 'paths'],
    ['the environment outside main', 'src/api/x.ts', `const a = process.env.PORT`, 'environment'],
    ['a barrel', 'src/api/x.ts', `export * from './app.ts'`, 'barrels'],
    ['a barrel by name', 'src/api/index.ts', ``, 'barrels'],
    ['a file nobody reads to the end', 'src/api/x.ts', 'const a = 1\n'.repeat(251), 'length'],
    ['a test that is skipped in silence', 'tests/x.test.ts', `it.skip('a', () => {})`, 'skips'],
  ]
  for (const [what, file, source, rule] of planted) {
    it(`sees ${what}`, () => assert.deepEqual(rulesBrokenBy(file, source), [rule]))
  }

  it('lets pass what is allowed', () => {
    const source = `import * as z from 'zod'\nimport type { Run } from '#contracts/run.ts'\nimport { b } from './b.ts'`
    assert.deepEqual(rulesBrokenBy('src/api/x.ts', source), [])
    assert.deepEqual(rulesBrokenBy('src/main/adapters.ts', `import { a } from '#queue/bullmq.ts'\nprocess.env`), [])
    assert.deepEqual(rulesBrokenBy('src/scheduler/engines/docker.ts', `import { a } from './docker-options.ts'`), [])
    assert.deepEqual(rulesBrokenBy('src/agent-runner/x.ts', `import type { a } from '#store/event-log.ts'`), [])
  })
})
