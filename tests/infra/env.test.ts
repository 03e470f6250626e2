import assert from 'node:assert/strict'
import { cp, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { tempDir } from '../helpers.ts'
import { ROOT } from '../runner/imports.ts'
import { runCommand } from './image.ts'

const SECRETS = [
  'MONGO_REPLICA_KEY',
  'MONGO_ROOT_PASSWORD',
  'MONGO_SERVICES_PASSWORD',
  'MONGO_AGENTS_PASSWORD',
  'REDIS_PASSWORD',
]

const makeEnv = async (
  t: TestContext,
  before?: string,
): Promise<{ read(): Promise<Map<string, string>>; dir: string }> => {
  const dir = await tempDir(t)
  await cp(join(ROOT, 'scripts'), join(dir, 'scripts'), { recursive: true })
  if (before !== undefined) await writeFile(join(dir, '.env'), before)
  const read = async () => {
    const { code, stderr } = await runCommand('sh', ['scripts/env.sh'], { cwd: dir })
    assert.equal(code, 0, stderr)
    const lines = (await readFile(join(dir, '.env'), 'utf8')).trim().split('\n')
    return new Map(lines.map((line): [string, string] => [line.split('=')[0] ?? '', line.slice(line.indexOf('=') + 1)]))
  }
  return { read, dir }
}

test('.env gets passwords that nobody else has, and is for its owner only', async (t) => {
  const { read, dir } = await makeEnv(t)
  const values = await read()
  const secrets = SECRETS.map((name) => values.get(name) ?? '')
  for (const secret of secrets) assert.match(secret, /^[0-9a-f]{48}$/)
  assert.equal(new Set(secrets).size, SECRETS.length)
  assert.equal((await stat(join(dir, '.env'))).mode & 0o777, 0o600)
  assert.match(values.get('MGX_USER') ?? '', /^[1-9]\d*:\d+$/, 'never root')
})

test('.env keeps what is there, also without a newline at its end, and twice is the same as once', async (t) => {
  const { read } = await makeEnv(t, 'OPENAI_API_KEY=sk-mine\nREDIS_PASSWORD=mine')
  const once = await read()
  assert.equal(once.get('OPENAI_API_KEY'), 'sk-mine')
  assert.equal(once.get('REDIS_PASSWORD'), 'mine')
  assert.match(once.get('MONGO_ROOT_PASSWORD') ?? '', /^[0-9a-f]{48}$/)
  assert.deepEqual(await read(), once)
})
