import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'

const PROGRAM = `
import { onShutdown } from '#main/shutdown.ts'
const keepAlive = setInterval(() => {}, 1000)
using shutdown = onShutdown((message) => console.log(message), process.argv[1] === 'stuck' ? 300 : undefined)
console.log('ready')
const signal = await shutdown.requested
console.log(shutdown.signal.aborted, signal)
if (process.argv[1] === 'quick') clearInterval(keepAlive)
else await new Promise(() => {})
`

const start = async (t: TestContext, kind: string) => {
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', PROGRAM, kind], {
    cwd: new URL('../../', import.meta.url),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  let said = ''
  const heard = async (text: string) => {
    while (!said.includes(text)) await once(child.stdout, 'data')
  }
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    said += part
  })
  await heard('ready')
  return { child, heard, said: () => said, exit: once(child, 'exit') }
}

test('the first signal asks for an orderly end, and the process leaves by itself', async (t) => {
  const { child, exit, said } = await start(t, 'quick')
  child.kill('SIGTERM')
  assert.deepEqual(await exit, [0, null])
  assert.match(said(), /SIGTERM: finishing; once more ends it at once\ntrue SIGTERM/)
})

for (const [signal, code] of [
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const) {
  test(`the second ${signal} ends it at once, with ${code} as a shell has it`, async (t) => {
    const { child, exit, heard } = await start(t, 'slow')
    child.kill('SIGTERM')
    await heard('true SIGTERM')
    child.kill(signal)
    assert.deepEqual(await exit, [code, null])
  })
}

test('an end that takes too long is none: it says so and leaves', async (t) => {
  const { child, exit, said } = await start(t, 'stuck')
  child.kill('SIGTERM')
  assert.deepEqual(await exit, [143, null])
  assert.match(said(), /not done 0\.3 s after SIGTERM: leaving the rest to the next process/)
})
