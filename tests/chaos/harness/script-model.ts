import type { ServerResponse } from 'node:http'
import { sleep } from '../../helpers.ts'
import { beginStream, callBash, end, type ModelServer, send, serveModel, turnOf } from '../model-wire.ts'

const say = async (response: ServerResponse, words: number, paceMs: number): Promise<void> => {
  for (let n = 0; n < words && !response.destroyed; n++) {
    send(response, { content: `word${n} ` })
    await sleep(paceMs)
  }
  end(response, 'stop')
}

/** An answer that no repetition makes better. */
const refuse = (response: ServerResponse): void => {
  response.writeHead(400, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ error: { message: 'the script says no', type: 'invalid_request_error' } }))
}

/**
 * A model that reads its answers from the prompt, one line for each after the title: `$ <command>` calls the tool, `say <words>
 * <milliseconds between two>` ends the turn, `refuse` is a failure of the model.
 */
export const openScriptModel = (host: string): Promise<ModelServer> =>
  serveModel(host, async (messages, response) => {
    const { prompt, step } = turnOf(messages)
    const line = prompt.split('\n')[step + 1] ?? 'say 1 0'
    if (line === 'refuse') return refuse(response)
    beginStream(response)
    if (line.startsWith('$ ')) return callBash(response, line.slice(2), `call_${step}`)
    const [, words = '1', paceMs = '0'] = line.split(' ')
    await say(response, Number(words), Number(paceMs))
  })
