import { type ChatCompletionRequest, LLMock } from '@copilotkit/aimock'

/** A model that does what the prompt says, so that many sessions share it and each test writes its own script. */
export type PromptModel = AsyncDisposable & {
  /** Up to and including the version, as OPENAI_BASE_URL has it. */
  readonly baseUrl: string
  /** Every request so far: what the model was shown, and the key it came with. */
  requests(): readonly { readonly messages: ChatCompletionRequest['messages']; readonly authorization: string }[]
}

type Turn = { readonly lines: readonly string[]; readonly step: number }

const textOf = (content: unknown): string => {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content.map((part: { text?: unknown }) => (typeof part.text === 'string' ? part.text : '')).join('')
}

/** The last prompt, and how many answers it has had. */
const turnOf = ({ messages }: ChatCompletionRequest): Turn => {
  const start = messages.findLastIndex(({ role }) => role === 'user')
  const step = messages.slice(start + 1).filter(({ role }) => role === 'assistant').length
  return { lines: textOf(messages[start]?.content).trim().split('\n'), step }
}

const lineOf = (request: ChatCompletionRequest): string => {
  const { lines, step } = turnOf(request)
  return lines[step] ?? ''
}

const call = (name: string, input: object) => [{ name, arguments: JSON.stringify(input) }]

const words = (count: number): string => Array.from({ length: count }, (_, index) => `word${index}`).join(' ')

const answer = (request: ChatCompletionRequest) => {
  const line = lineOf(request)
  const [verb = '', first = '', rest = ''] = /^(\S+) ?(\S*) ?(.*)$/s.exec(line)?.slice(1) ?? []
  if (verb === 'bash') return { content: 'I run it.', toolCalls: call('bash', { command: `${first} ${rest}` }) }
  if (verb === 'write') return { content: 'I write it.', toolCalls: call('write', { path: first, content: rest }) }
  if (verb === 'tell') return { content: words(Number(first)) }
  return { content: `Done: ${line}` }
}

/**
 * An OpenAI-compatible server that reads the prompt as its script, one line for each answer:
 *   `bash <command>`        calls the tool; a command such as `until [ -e go ]; do sleep 0.1; done` holds the run until the
 *                           test writes the file `go` into the workspace
 *   `write <path> <text>`   calls the tool
 *   `tell <n>`              ends the turn with n words, twenty a second
 *   anything else, nothing  ends the turn with `Done: <line>`
 */
export const openPromptModel = async (host = '127.0.0.1'): Promise<PromptModel> => {
  const server = new LLMock({ host, port: 0, logLevel: 'silent', journalMaxEntries: 0 })
  const tells = (request: ChatCompletionRequest) => lineOf(request).startsWith('tell ')
  server.on({ endpoint: 'chat', predicate: tells }, answer, { chunkSize: 6, streamingProfile: { ttft: 50, tps: 20 } })
  server.on({ endpoint: 'chat' }, answer, { chunkSize: 64 })
  const url = await server.start()
  return {
    baseUrl: `${url}/v1`,
    requests: () =>
      server.getRequests().map(({ body, headers }) => ({
        messages: (body as ChatCompletionRequest).messages,
        authorization: headers.authorization ?? '',
      })),
    [Symbol.asyncDispose]: () => server.stop(),
  }
}
