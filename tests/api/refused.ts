import assert from 'node:assert/strict'
import { ERRORS, type ErrorBody, type ErrorCode } from '#contracts/errors.ts'

type Answer = { readonly statusCode: number; readonly body: string }

/** The one shape, its code and its status. Gives the body for a closer look. */
export const refused = (answer: Answer, code: ErrorCode): ErrorBody => {
  const error = JSON.parse(answer.body) as ErrorBody
  assert.equal(error.code, code, answer.body)
  assert.equal(answer.statusCode, ERRORS[code].status)
  for (const field of ['message', 'cause', 'remediation'] as const) {
    assert.equal(typeof error[field], 'string')
    assert.notEqual(error[field], '')
  }
  return error
}
