import { hasZodFastifySchemaValidationErrors } from '@fastify/type-provider-zod'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ERRORS, type ErrorBody, type ErrorCode, MgxError } from '#contracts/errors.ts'
import { PROMPT_MAX_BYTES } from '#contracts/http.ts'
import { ID_RULE } from '#contracts/ids.ts'
import { validationError } from './validation-errors.ts'

/** Bytes of a whole body: a prompt of full length with every character escaped as six, and half a megabyte besides. */
export const BODY_MAX_BYTES = 2 * 1024 * 1024

/** Fastify's own errors, by code: ours, and what to say where Fastify's words do not fit. */
const FASTIFY_ERRORS: Readonly<Record<string, { code: ErrorCode; message?: string }>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    code: 'UNSUPPORTED_MEDIA_TYPE',
    message: 'This content type is not understood here.',
  },
  FST_ERR_CTP_BODY_TOO_LARGE: {
    code: 'PAYLOAD_TOO_LARGE',
    message: `A body may have ${BODY_MAX_BYTES} bytes, and a prompt ${PROMPT_MAX_BYTES} bytes of UTF-8.`,
  },
  FST_ERR_CTP_EMPTY_JSON_BODY: { code: 'INVALID_JSON' },
  FST_ERR_CTP_INVALID_JSON_BODY: { code: 'INVALID_JSON' },
  FST_ERR_MAX_PARAM_LENGTH: { code: 'INVALID_ID', message: `A part of the path is not an id: ${ID_RULE}` },
  FST_ERR_BAD_URL: { code: 'INVALID_REQUEST', message: 'The path is not valid: its percent-encoding is broken.' },
  FST_ERR_HANDLER_TIMEOUT: { code: 'UNAVAILABLE', message: 'The answer took too long.' },
}

type WithCode = { readonly code?: unknown; readonly statusCode?: unknown; readonly validationContext?: unknown }

const placeOf = ({ validationContext }: WithCode) =>
  validationContext === 'params' || validationContext === 'querystring' || validationContext === 'headers'
    ? validationContext
    : 'body'

/** What a client is told of an error. What it does not understand, and every 5xx, says nothing of our inside. */
export const toMgxError = (error: unknown, request: FastifyRequest): MgxError => {
  if (error instanceof MgxError) return error
  if (hasZodFastifySchemaValidationErrors(error)) return validationError(error.validation, placeOf(error), request)
  if (error instanceof SyntaxError) return new MgxError('INVALID_JSON', 'The body is not JSON.', error.message)
  if (error instanceof Error) {
    const { code, statusCode } = error as WithCode
    const known = typeof code === 'string' ? FASTIFY_ERRORS[code] : undefined
    if (known !== undefined) return new MgxError(known.code, known.message ?? error.message)
    if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500)
      return new MgxError('INVALID_REQUEST', error.message)
  }
  return new MgxError('INTERNAL', 'Something went wrong on our side.', `request ${request.id}`)
}

export const sendError = (reply: FastifyReply, status: number, body: ErrorBody): FastifyReply =>
  reply
    .code(status)
    .type('application/json; charset=utf-8')
    .serializer((payload: unknown) => JSON.stringify(payload))
    .send(body)

/** Fastify's error handler: the one shape, and the one place where a 5xx is logged. */
export const handleError = (error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
  const told = toMgxError(error, request)
  if (told.status >= 500) request.log.error({ err: told.cause ?? error, code: told.code }, 'a request failed')
  const retryAfter = told.retryAfterSeconds ?? (told.code === 'UNAVAILABLE' ? 2 : undefined)
  if (retryAfter !== undefined) reply.header('retry-after', String(retryAfter))
  return sendError(reply, told.status, told.toBody())
}

/** The whole answer to what is not even HTTP, written to the bare socket. */
export const badHttpAnswer = (tooLarge: boolean): string => {
  const message = tooLarge ? 'The headers of the request are too large.' : 'This is not a valid HTTP request.'
  const body = JSON.stringify({
    code: 'INVALID_REQUEST',
    message,
    cause: message,
    remediation: ERRORS.INVALID_REQUEST.remediation,
  } satisfies ErrorBody)
  const status = tooLarge ? '431 Request Header Fields Too Large' : '400 Bad Request'
  const length = Buffer.byteLength(body)
  return `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\nconnection: close\r\n\r\n${body}`
}
