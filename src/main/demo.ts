import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { destination, type Logger } from 'pino'
import { type DevSettings, devConfig } from './config.ts'
import { follow, generate, stop } from './demo-client.ts'
import { freePort, leftRunning, listFiles } from './demo-machine.ts'
import { createDemoView } from './demo-view.ts'
import { fileList, goingOn, opening, typed } from './demo-words.ts'
import { type Embedded, openEmbedded } from './embedded.ts'
import { createLogger } from './logger.ts'
import type { Env } from './read-env.ts'
import { runRoot } from './root.ts'
import { screenOf } from './screen.ts'
import { onShutdown, type Shutdown } from './shutdown.ts'

const PROMPT = 'Make a small page that welcomes visitors, with a clock and a switch between day and night.'

const EXIT_INTERRUPTED = 130

const write = (text: string): void => {
  process.stdout.write(text)
}

/** One run, shown as it happens. Resolves with true when it succeeded. */
const watchRun = async (server: Embedded, sessionId: string, prompt: string, shutdown: Shutdown): Promise<boolean> => {
  const { url } = server
  const view = createDemoView({ ...screenOf(process.stdout), live: process.stdout.isTTY === true })
  const run = await generate(url, { session_id: sessionId, workspace_id: sessionId, framework: 'static', prompt })
  const cancel = () => void stop(url, sessionId).catch(() => {})
  if (shutdown.signal.aborted) cancel()
  shutdown.signal.addEventListener('abort', cancel)
  let succeeded = false
  for await (const event of follow(url, run)) {
    write(view.show(event))
    if (event.event_type === 'finish') succeeded = event.data.status === 'success'
  }
  return succeeded
}

const openLog = (settings: DevSettings): { readonly log: Logger; readonly file: string } => {
  const directory = join(settings.worker.workspacesRoot, '.mgx', 'data')
  mkdirSync(directory, { recursive: true })
  const file = join(directory, 'demo.log')
  return { log: createLogger('demo', settings.logLevel, destination({ dest: file, sync: true })), file }
}

const runDemo = async (env: Env, settings: DevSettings, shutdown: Shutdown): Promise<number> => {
  const { log, file } = openLog(settings)
  const screen = screenOf(process.stdout)
  const port = settings.portGiven ? settings.listen.port : await freePort(settings.listen)
  // One run, once: nothing would be won by containers that wait for the next.
  const worker = { ...settings.worker, warmPoolSize: 0 }
  const sessionId = `demo-${randomBytes(2).toString('hex')}`
  await using server = await openEmbedded(
    { ...settings, worker, listen: { ...settings.listen, port } },
    log,
    shutdown.signal,
  )
  write(opening(screen, server, sessionId))
  const succeeded = await watchRun(server, sessionId, env.PROMPT || PROMPT, shutdown)
  const workspace = join(server.workspacesRoot, sessionId)
  write(fileList(screen, typed(workspace, process.cwd()), await listFiles(workspace)))
  const kept = env.KEEP === '1' && !shutdown.signal.aborted
  const { host, port: usual } = settings.listen
  const url = kept ? server.url : `http://${host}:${usual}`
  const serverLog = typed(file, process.cwd())
  write(goingOn(screen, { url, sessionId, kept, serverLog, leftRunning: await leftRunning() }))
  if (kept) await shutdown.requested
  else if (shutdown.signal.aborted) return EXIT_INTERRUPTED
  return succeeded ? 0 : 1
}

/** What `make demo` runs after its set-up: one session, live in the terminal. */
await runRoot('demo', async (env) => {
  // Nobody reads the figures of one run, and a server beside it may have that port.
  const { METRICS_PORT: _, ...rest } = env
  const settings = devConfig(rest)
  using shutdown = onShutdown((message) => process.stderr.write(`\n  ${message}\n`))
  return await runDemo(env, settings, shutdown)
})
