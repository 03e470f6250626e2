import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LLMock } from '@copilotkit/aimock'
import { generateText, streamText } from 'ai'
import { createModel } from '#models/provider.ts'

test('a model speaks to an OpenAI-compatible server: key, model, streamed text, usage', async (t) => {
  const mock = new LLMock({ host: '127.0.0.1', port: 0, logLevel: 'silent' })
  t.after(() => mock.stop())
  mock.on({ endpoint: 'chat' }, { content: 'Hello from the mock.' })
  const model = createModel({ baseUrl: `${await mock.start()}/v1`, apiKey: 'sk-test', model: 'm-1' })
  const result = streamText({ model, prompt: 'hi' })
  assert.equal(await result.text, 'Hello from the mock.')
  assert.ok(((await result.usage).totalTokens ?? 0) > 0, 'usage was asked for')
  const [request] = mock.getRequests()
  assert.equal(request?.body?.model, 'm-1')
  assert.equal(request?.headers.authorization !== undefined, true)
})

test('requests travel by the fetch that is given', async () => {
  const asked: string[] = []
  const model = createModel({
    baseUrl: 'http://nowhere.invalid/v1',
    apiKey: 'sk-test',
    model: 'm-1',
    fetch: async (input, init) => {
      asked.push(`${String(input)} ${new Headers(init?.headers).get('authorization')}`)
      const message = { role: 'assistant', content: 'by hand' }
      return Response.json({
        id: 'x',
        created: 1,
        model: 'm-1',
        choices: [{ index: 0, message, finish_reason: 'stop' }],
      })
    },
  })
  assert.equal((await generateText({ model, prompt: 'hi' })).text, 'by hand')
  assert.deepEqual(asked, ['http://nowhere.invalid/v1/chat/completions Bearer sk-test'])
})
