import type { FastifyInstance } from 'fastify'
import { MgxError } from '#contracts/errors.ts'

/**
 * JSON is the only body there is. Bytes that are no UTF-8 are refused rather than replaced, and an empty body counts as
 * none: many clients send the content type with every POST.
 */
export const acceptJsonOnly = (app: FastifyInstance): void => {
  const parse = app.getDefaultJsonParser('error', 'error')
  const decoder = new TextDecoder('utf-8', { fatal: true })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    if (body.length === 0) return done(null, undefined)
    let text: string
    try {
      text = decoder.decode(body as Buffer)
    } catch {
      return done(new MgxError('INVALID_JSON', 'The body is not UTF-8.'), undefined)
    }
    void parse(request, text, done)
  })
}
