import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { tempDir } from '../helpers.ts'
import { calls, says } from './scripted-model.ts'
import { checkLog, openWorld, startRunner } from './world.ts'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '../..')

test('what runs before agent_start loads no package at all', async () => {
  const { metafile } = await build({
    entryPoints: [join(ROOT, 'src/main/runner.ts')],
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    format: 'cjs',
    absWorkingDir: ROOT,
    packages: 'external',
    logLevel: 'silent',
  })
  const seen = new Set<string>()
  const packages: string[] = []
  const visit = (file: string) => {
    if (seen.has(file)) return
    seen.add(file)
    for (const { path, kind, external } of metafile.inputs[file]?.imports ?? []) {
      if (kind === 'dynamic-import') continue
      if (external === true) packages.push(`${path} from ${file}`)
      else visit(path)
    }
  }
  visit('src/main/runner.ts')
  assert.ok(seen.has('src/agent-runner/sinks/gateway.ts'))
  assert.deepEqual(
    packages.filter((each) => !each.startsWith('node:')),
    [],
  )
})

test('the bundle works on its own, in one file', async (t) => {
  const outfile = join(await tempDir(t), 'agent.js')
  await run(process.execPath, [join(ROOT, 'infra/bundle-runner.ts'), outfile])
  await run(process.execPath, [outfile, '--warm-up'])
  const world = await openWorld(t, {
    replies: [calls([{ name: 'bash', args: { command: 'touch made' } }]), says('Done.')],
  })
  const input = `${JSON.stringify(world.job())}\n`
  const runner = startRunner(t, world.workspace, { input, program: outfile })
  assert.equal((await runner.exited).code, 0, runner.stderr())
  checkLog(await world.log())
  assert.equal(existsSync(join(world.workspace, 'made')), true)
})
