import type { FastifyRequest } from 'fastify'
import { type ErrorCode, MgxError } from '#contracts/errors.ts'
import { FRAMEWORK_NAMES } from '#contracts/frameworks.ts'
import { ID_RULE } from '#contracts/ids.ts'

/** One complaint of the validator; `instancePath` is `/field/inner`. */
type Issue = { readonly instancePath: string; readonly keyword: string; readonly message?: string | undefined }

/** Where in the request the complaint is about, as Fastify names it. */
type Place = 'body' | 'params' | 'querystring' | 'headers'

type Problem = { readonly code: ErrorCode; readonly text: string }

const CURSORS = new Set(['after', 'cursor', 'last-event-id'])
const IDS = new Set(['session_id', 'workspace_id'])

/** What the client sent there; `undefined` for a missing field. */
const sent = (request: FastifyRequest, place: Place, path: readonly string[]): unknown => {
  let value: unknown = place === 'querystring' ? request.query : request[place]
  for (const key of path) {
    if (value === null || typeof value !== 'object') return undefined
    value = Reflect.get(value, key)
  }
  return value
}

const quote = (value: unknown): string =>
  JSON.stringify(typeof value === 'string' ? value.slice(0, 80) : value) ?? 'nothing'

const problemOf = (issue: Issue, request: FastifyRequest, place: Place): Problem => {
  const path = issue.instancePath.split('/').filter((key) => key !== '')
  const [field = ''] = path
  const value = sent(request, place, path)
  const where = [place, ...path].join('/')
  if (value === undefined || (value === null && path.length === 0))
    return { code: 'INVALID_REQUEST', text: `${where} is missing` }
  if (CURSORS.has(field)) return { code: 'INVALID_CURSOR', text: `${where}: ${issue.message ?? ''}` }
  if (typeof value === 'string') {
    if (IDS.has(field)) return { code: 'INVALID_ID', text: `${where} ${quote(value)} is not an id: ${ID_RULE}` }
    if (field === 'framework') {
      const known = FRAMEWORK_NAMES.join(', ')
      return { code: 'UNKNOWN_FRAMEWORK', text: `there is no framework ${quote(value)}; there are: ${known}` }
    }
    if (field === 'prompt' && issue.keyword === 'custom')
      return { code: 'PAYLOAD_TOO_LARGE', text: issue.message ?? '' }
  }
  return { code: 'INVALID_REQUEST', text: `${where}: ${issue.message ?? issue.keyword}` }
}

/** Turns the complaints of the validator into one error: its own code where they agree, else INVALID_REQUEST. */
export const validationError = (issues: readonly Issue[], place: Place, request: FastifyRequest): MgxError => {
  const problems = issues.map((issue) => problemOf(issue, request, place))
  const codes = new Set(problems.map(({ code }) => code))
  const [code = 'INVALID_REQUEST'] = codes.size === 1 ? codes : []
  const [first] = problems
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : ''
  return new MgxError(
    code,
    `${first?.text ?? 'the request is not valid'}${more}`,
    problems.map(({ text }) => text).join('; '),
  )
}
