import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLogger, withoutCredentials } from '#main/logger.ts'
import { prettyLine } from '#main/pretty-log.ts'

const logged = (write: (log: ReturnType<typeof createLogger>) => void, level = 'info') => {
  const lines: string[] = []
  write(createLogger('test', level, { write: (line) => void lines.push(line) }))
  return lines
}

test('one JSON line each, with level in words, time in UTC and the name of the process', () => {
  const [line = '', ...more] = logged((log) => log.info({ run_id: 'r1' }, 'run finished'))
  assert.deepEqual(more, [])
  const { level, time, name, run_id, msg } = JSON.parse(line) as Record<string, string>
  assert.deepEqual({ level, name, run_id, msg }, { level: 'info', name: 'test', run_id: 'r1', msg: 'run finished' })
  assert.match(time ?? '', /^\d{4}-\d\d-\d\dT.*Z$/)
})

test('LOG_LEVEL holds back what is below it', () => {
  const write = (log: ReturnType<typeof createLogger>) => {
    log.debug('a')
    log.info('b')
    log.error('c')
  }
  assert.equal(logged(write).length, 2)
  assert.equal(logged(write, 'silent').length, 0)
})

test('keys, tokens and passwords in addresses never get into the log, however deep the cause', () => {
  const driver = new Error('cannot reach mongodb://mgx:geheim@db:27017/?a=b and redis://:geheim@queue')
  const lines = logged((log) => {
    log.warn({ err: new Error('store', { cause: driver }) }, 'down')
    log.info({ token: 'geheim', job: { openai_api_key: 'geheim', mongodb_url: 'geheim' } }, 'a job')
    log.info({ req: { headers: { authorization: 'Bearer geheim' } } }, 'asked')
  })
  assert.equal(lines.length, 3)
  assert.doesNotMatch(lines.join(), /geheim/)
  assert.match(lines[0] ?? '', /mongodb:\/\/\*\*\*@db:27017/)
  assert.equal(withoutCredentials('http://host/path@x'), 'http://host/path@x')
})

test('for a terminal the same line reads as a sentence', () => {
  const screen = { columns: 80, color: false }
  const [line = ''] = logged((log) => log.warn({ run_id: 'r1', err: new TypeError('no') }, 'it\u001b[2J broke'))
  const pretty = prettyLine(line, screen)
  assert.match(pretty, /^\d\d:\d\d:\d\d warn {2}it broke run_id=r1\nTypeError: no\n {4}at /)
  assert.equal(prettyLine('no JSON\n', screen), 'no JSON\n')
})
