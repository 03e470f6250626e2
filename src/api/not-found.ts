import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { MgxError } from '#contracts/errors.ts'
import { sendError } from './errors.ts'

type Route = { readonly pattern: RegExp; readonly methods: readonly string[] }

const patternOf = (url: string): RegExp =>
  new RegExp(`^${url.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/:[a-z_]+/g, '[^/]+')}$`)

/** 404 for a path that there is not, 405 with `Allow` for one that there is with another method; Fastify has only the first. */
export const answerUnknownRoutes = (app: FastifyInstance): void => {
  const routes: Route[] = []
  app.addHook('onRoute', ({ url, method }) => {
    routes.push({ pattern: patternOf(url), methods: Array.isArray(method) ? method : [method] })
  })
  app.setNotFoundHandler((request: FastifyRequest, reply: FastifyReply) => {
    const [path = ''] = request.url.split('?')
    const allowed = new Set(routes.filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => methods))
    const asked = `${request.method} ${path.slice(0, 200)}`
    if (allowed.size === 0) {
      return sendError(reply, 404, new MgxError('NOT_FOUND', 'There is no such route.', asked).toBody())
    }
    const allow = [...allowed].join(', ')
    reply.header('allow', allow)
    return sendError(reply, 405, new MgxError('METHOD_NOT_ALLOWED', `This route takes ${allow}.`, asked).toBody())
  })
}
