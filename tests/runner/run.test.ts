import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, it, type TestContext } from 'node:test'
import { tempDir } from '../helpers.ts'
import { ROOT, specifiersOf } from './imports.ts'
import { needsOf } from './needs.ts'

const HEAD = `import { after, describe, it, test } from 'node:test'\n`

const runFiles = async (t: TestContext, sources: Record<string, string>, filters: string[] = []) => {
  const dir = await tempDir(t)
  const paths = Object.keys(sources).map((name) => join(dir, name))
  await Promise.all(Object.entries(sources).map(([name, source]) => writeFile(join(dir, name), HEAD + source)))
  // A test process marks its environment, and node:test would refuse to run files within it.
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined, FORCE_COLOR: '0' }
  const child = spawn(process.execPath, [join(ROOT, 'tests/run.ts'), ...paths, ...filters], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const output = await text(child.stdout)
  return { output, code: await exited, last: output.trimEnd().split('\n').at(-1) }
}

describe('tests/run.ts', () => {
  it('counts leaves, lists skips with their reasons, and passes', async (t) => {
    const { output, code, last } = await runFiles(t, {
      'a.mjs': `describe('a suite', () => {
        it('one', () => {})
        it('parent', async (t) => { await t.test('child', () => {}); await t.test('other child', () => {}) })
        it('needs a thing', (t) => t.skip('no such thing here'))
      })
      describe('a skipped suite', { skip: 'no database' }, () => { it('x', () => {}) })`,
    })
    assert.equal(last, '3 passed, 0 failed, 2 skipped')
    assert.match(output, /needs a thing: no such thing here/)
    assert.match(output, /a skipped suite: no database/)
    assert.equal(code, 0)
  })

  it('fails when a test, a hook, a subtest or a whole file fails, and shows why', async (t) => {
    const { output, code, last } = await runFiles(t, {
      'a.mjs': `test('fails', () => { throw new Error('broken here') })
        test('parent', async (t) => { await t.test('child', () => { throw new Error('child broken') }) })
        describe('hook', () => { after(() => { throw new Error('hook broken') }); it('ok', () => {}) })`,
      'b.mjs': `import './does-not-exist.mjs'`,
      'c.mjs': `export const nothing = 1`,
      'd.mjs': `test('ok', () => {}); test('dies', () => new Promise(() => setTimeout(() => process.exit(7), 300)))`,
    })
    assert.equal(last, '2 passed, 6 failed, 0 skipped')
    for (const text of ['broken here', 'child broken', 'hook broken', 'does-not-exist', 'has no tests']) {
      assert.ok(output.includes(text), text)
    }
    assert.equal(code, 1)
  })

  it('gives a file on real servers a second try alone and calls it flaky, and no other file', async (t) => {
    const dir = await tempDir(t)
    const services = join(ROOT, 'tests/services/redis.ts')
    const flaky = (name: string) => `import { existsSync, writeFileSync } from 'node:fs'
      const mark = ${JSON.stringify(join(dir, name))}
      test('fails the first time', () => { if (existsSync(mark)) return; writeFileSync(mark, ''); throw new Error('busy') })`
    const real = `import ${JSON.stringify(relative(dir, services))}\n${flaky('real')}`
    const sources = { 'real.mjs': real, 'plain.mjs': flaky('plain') }
    const { output, code, last } = await runFiles(t, sources)
    assert.equal(last, '1 passed, 1 failed, 0 skipped')
    assert.match(output, /FLAKY.*\n.*real\.mjs/)
    assert.doesNotMatch(output, /once more, alone:.*plain\.mjs/)
    assert.equal(code, 1)
    assert.equal((await runFiles(t, { 'real.mjs': real.replaceAll(join(dir, 'real'), join(dir, 'other')) })).code, 0)
  })

  it('fails when nothing ran', async (t) => {
    const { last, code } = await runFiles(t, {}, ['no-file-has-this-name'])
    assert.equal(last, '0 passed, 0 failed, 0 skipped')
    assert.equal(code, 1)
  })
})

describe('what the runner reads from imports', () => {
  it('finds every kind of import and no comment', () => {
    const source = `import a from './a.ts'\n// import b from './b.ts'\nexport { c } from './c.ts'\nimport './d.ts'
      const e = await import('./e.ts')\nimport type {\n  F,\n} from '#room/f.ts'\n/* import './g.ts' */`
    assert.deepEqual(specifiersOf(source).sort(), ['#room/f.ts', './a.ts', './c.ts', './d.ts', './e.ts'])
  })

  it('starts only the services that a file reaches', () => {
    const needs = needsOf([join(ROOT, 'tests/services/services.test.ts')])
    assert.deepEqual(needs, { mongodb: true, redis: true, docker: true, image: false, kubernetes: false })
    assert.equal(needsOf([join(ROOT, 'tests/helpers.ts')]).docker, false)
  })
})
