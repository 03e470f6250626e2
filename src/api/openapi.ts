import swagger from '@fastify/swagger'
import { jsonSchemaTransform } from '@fastify/type-provider-zod'
import Fastify, { type FastifyInstance } from 'fastify'
import type { ApiConfig } from './deps.ts'

const DESCRIPTION = `Runs coding agents, one container per session.

POST a prompt, then follow the session's log: every event has a place (\`seq\`) that is the \`id\` of its frame, so that a
client that was away goes on where it stopped. Errors have one shape: \`code\`, \`message\`, \`cause\`, \`remediation\`.`

type Answer = { description?: string; content?: Record<string, unknown> }
type Operation = { responses?: Record<string, Answer> }

/** What the routes send besides JSON; the schemas of the routes cannot say it. */
const STREAMS = [
  ['/api/agent/generate', 'post', 'text/event-stream', "The run's events; the stream ends behind its `finish`."],
  ['/api/agent/sessions/{session_id}/events', 'get', 'text/event-stream', 'The events as they are stored.'],
  ['/api/agent/sessions/{session_id}/runs/{run_id}/logs', 'get', 'text/plain', 'The output so far, or all of it.'],
] as const

const addStreams = (paths: Record<string, Record<string, Operation>>): void => {
  for (const [path, method, type, description] of STREAMS) {
    const operation = paths[path]?.[method]
    if (operation === undefined) throw new Error(`no route ${method} ${path} to document`)
    const content = { ...operation.responses?.[200]?.content, [type]: { schema: { type: 'string' } } }
    operation.responses = { ...operation.responses, 200: { description, content } }
  }
}

const openDocs = async (): Promise<FastifyInstance> => {
  const { default: scalar } = await import('@scalar/fastify-api-reference')
  const docs = Fastify()
  await docs.register(scalar, {
    routePrefix: '/docs',
    configuration: { url: '/openapi.json', pageTitle: 'mgx API', withDefaultFonts: false, telemetry: false },
  })
  return docs
}

/** The reference's page and script take 40 MB of memory: an app of their own, made when somebody first looks. */
const serveDocs = (app: FastifyInstance): void => {
  let docs: Promise<FastifyInstance> | undefined
  app.addHook('onClose', async () => (await docs)?.close())
  for (const path of ['/docs', '/docs/*']) {
    app.get(path, { schema: { hide: true } }, async (request, reply) => {
      docs ??= openDocs()
      const answer = await (await docs).inject({ method: 'GET', url: request.url })
      const {
        'content-length': _length,
        'transfer-encoding': _encoding,
        connection: _connection,
        ...headers
      } = answer.headers
      return reply.code(answer.statusCode).headers(headers).send(answer.rawPayload)
    })
  }
}

/** Describes the routes that are registered behind it: OpenAPI 3.1 at /openapi.json, and browsable at /docs if asked for. */
export const registerOpenApi = async (app: FastifyInstance, config: ApiConfig): Promise<void> => {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'mgx',
        version: config.version,
        description: DESCRIPTION,
        license: { name: 'MIT', identifier: 'MIT' },
      },
    },
    transform: jsonSchemaTransform,
  })

  let document: string | undefined
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
    if (document === undefined) {
      const described = structuredClone(app.swagger())
      addStreams(described.paths as Record<string, Record<string, Operation>>)
      document = JSON.stringify(described)
    }
    return reply.type('application/json; charset=utf-8').send(document)
  })

  if (config.docs) serveDocs(app)
}
