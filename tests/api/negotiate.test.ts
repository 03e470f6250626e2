import assert from 'node:assert/strict'
import { test } from 'node:test'
import { JSON_TYPE, negotiate, SSE_TYPE } from '#api/negotiate.ts'

const events = (accept?: string) => negotiate(accept, [SSE_TYPE, JSON_TYPE])
const generate = (accept?: string) => negotiate(accept, [JSON_TYPE, SSE_TYPE])

test('without a wish the first offer is given', () => {
  for (const accept of [undefined, '', ' ', '*/*', 'text/html, */*;q=0.8']) {
    assert.equal(events(accept), SSE_TYPE)
    assert.equal(generate(accept), JSON_TYPE)
  }
})

test('a type that is named wins over ranges', () => {
  assert.equal(generate('text/event-stream'), SSE_TYPE)
  assert.equal(generate('text/event-stream, */*'), SSE_TYPE)
  assert.equal(generate('Text/Event-Stream;charset=utf-8'), SSE_TYPE)
  assert.equal(events('application/json'), JSON_TYPE)
  assert.equal(events('application/json, */*'), JSON_TYPE)
  assert.equal(events('text/*'), SSE_TYPE)
})

test('quality decides first, and q=0 is a no', () => {
  assert.equal(events('text/event-stream;q=0.5, application/json'), JSON_TYPE)
  assert.equal(events('text/event-stream;q=0, */*'), JSON_TYPE)
  assert.equal(generate('application/json;q=0.1, text/event-stream;q=0.2'), SSE_TYPE)
})

test('between two that are named alike the first offer is given', () => {
  assert.equal(events('application/json, text/event-stream'), SSE_TYPE)
  assert.equal(generate('application/json, text/event-stream'), JSON_TYPE)
})

test('a wish that nothing meets', () => {
  for (const accept of ['text/html', 'text/event-stream;q=0', 'application/*;q=0', '*/*;q=0']) {
    assert.throws(() => negotiate(accept, [SSE_TYPE]), { code: 'NOT_ACCEPTABLE' })
  }
})
