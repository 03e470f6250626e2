import { relative } from 'node:path'
import { paint, type Screen, size, wrap } from './demo-text.ts'
import type { Embedded } from './embedded.ts'

/** What the demo says around the run. Pure. */

type Chosen = Pick<Embedded, 'engine' | 'noDocker' | 'model'>

export const enginePlain = ({ engine, noDocker }: Chosen): string => {
  if (engine === 'docker')
    return 'Docker: each session works in a container of its own, without rights and within limits'
  if (engine === 'kubernetes')
    return 'Kubernetes: each session works in a pod of its own, without rights and within limits'
  const why = noDocker === undefined ? 'ENGINE=process asks for it.' : `Docker does not work here: ${noDocker}`
  return `plain processes. NO ISOLATION: the agent can do and reach whatever you can here. ${why}`
}

export const modelPlain = ({ model }: Chosen): string =>
  model.scripted
    ? 'the scripted demo model, because OPENAI_API_KEY is not set: its answers are fixed, the tools and their work are real'
    : `${model.name}, by OPENAI_*`

export type DemoFile = { readonly path: string; readonly bytes: number }

const labelled = (screen: Screen, label: string, text: string): string => {
  const head = `  ${label.padEnd(10)}`
  const body = wrap(text, screen.columns, ' '.repeat(head.length)).slice(head.length)
  return `${paint(screen, 'dim', head)}${body}`
}

export const opening = (screen: Screen, server: Chosen & { readonly url: string }, sessionId: string): string =>
  [
    `\n  ${paint(screen, 'bold', 'mgx')}  ${paint(screen, 'dim', 'one agent, one session, live')}\n\n`,
    labelled(screen, 'engine', enginePlain(server)),
    labelled(screen, 'model', modelPlain(server)),
    labelled(screen, 'API', server.url),
    labelled(screen, 'session', sessionId),
  ].join('')

const FILES_SHOWN = 20

export const fileList = (screen: Screen, directory: string, files: readonly DemoFile[]): string => {
  const lines = files.slice(0, FILES_SHOWN).map(({ path, bytes }) => `  ${size(bytes).padStart(9)}  ${path}\n`)
  const more = files.length > FILES_SHOWN ? [`  … and ${files.length - FILES_SHOWN} more\n`] : []
  const head = files.length === 0 ? `No files in ${directory}` : `Files in ${directory}`
  return `\n  ${paint(screen, 'bold', head)}\n${lines.join('')}${more.join('')}`
}

/** A path as one would type it here. */
export const typed = (path: string, cwd: string): string => {
  const short = relative(cwd, path)
  return short !== '' && !short.startsWith('..') ? short : path
}

export type Ending = {
  readonly url: string
  readonly sessionId: string
  readonly kept: boolean
  readonly serverLog: string
  /** What the set-up started and the demo did not: a Docker daemon, with how to stop it. */
  readonly leftRunning: readonly string[]
}

const command = (screen: Screen, what: string, line: string): string =>
  `  ${paint(screen, 'dim', `# ${what}`)}\n  ${line}\n`

/** How to go on: commands that work when they are typed as they stand. */
export const goingOn = (screen: Screen, { url, sessionId, kept, serverLog, leftRunning }: Ending): string => {
  const base = `${url}/api/agent`
  const body = `{"session_id":"${sessionId}","workspace_id":"${sessionId}","framework":"static","prompt":"Add a wish list"}`
  const steps = [
    ...(kept ? [] : [command(screen, 'start the server again (Ctrl-C ends it)', 'make dev')]),
    command(screen, 'what happened, event by event', `curl -N ${base}/sessions/${sessionId}/events`),
    command(
      screen,
      'the next prompt in this session, live',
      `curl -N ${base}/generate -H 'content-type: application/json' -H 'accept: text/event-stream' -d '${body}'`,
    ),
  ]
  const running = kept
    ? [`The server still runs at ${url}: Ctrl-C ends it.`]
    : ['The server of this demo has been stopped; files and log stay.']
  const notes = [...running, ...leftRunning].map((line) => wrap(line, screen.columns, '  ')).join('')
  return `\n  ${paint(screen, 'bold', 'Go on')}\n${steps.join('')}\n${notes}${wrap(`Log of the server: ${serverLog}`, screen.columns, '  ')}`
}
