import { type ChatCompletionRequest, LLMock } from '@copilotkit/aimock'
import { type DemoReply, demoReply } from './demo-script.ts'

export type DemoModel = AsyncDisposable & {
  /** Up to and including the version, as OPENAI_BASE_URL has it. */
  readonly baseUrl: string
}

export const DEMO_MODEL = 'mgx-demo'

/** Requests kept in memory for nobody to read: few. */
const JOURNAL_ENTRIES = 10

/** Milliseconds to the first piece, pieces per second. Slow enough to be seen, quick enough not to bore. */
const TALKING = { chunkSize: 6, streamingProfile: { ttft: 250, tps: 70 } }
const WRITING = { chunkSize: 24, streamingProfile: { ttft: 250, tps: 110 } }

const toResponse = ({ content, toolCalls }: DemoReply) =>
  toolCalls.length === 0 ? { content } : { content, toolCalls: [...toolCalls] }

const replyTo = (request: ChatCompletionRequest): DemoReply => demoReply(request.messages)

const writes = (request: ChatCompletionRequest): boolean => replyTo(request).toolCalls.length > 0

/**
 * The scripted demo model as an OpenAI-compatible server over HTTP, so that everything between it and the agent is what a real
 * model would go through. On any free port of `host`: loopback, unless told otherwise.
 */
export const openDemoModel = async (host = '127.0.0.1'): Promise<DemoModel> => {
  const server = new LLMock({ host, port: 0, logLevel: 'silent', journalMaxEntries: JOURNAL_ENTRIES })
  const answer = (request: ChatCompletionRequest) => toResponse(replyTo(request))
  server.on({ endpoint: 'chat', predicate: writes }, answer, WRITING)
  server.on({ endpoint: 'chat' }, answer, TALKING)
  const url = await server.start()
  return {
    baseUrl: `${url}/v1`,
    [Symbol.asyncDispose]: () => server.stop(),
  }
}
