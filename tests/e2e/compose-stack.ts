import { randomBytes } from 'node:crypto'
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LABELS } from '#contracts/labels.ts'
import { openDemoModel } from '#main/demo-model.ts'
import { freePort, waitFor } from '../helpers.ts'
import { docker, type Ran, runCommand } from '../infra/image.ts'
import { ROOT } from '../runner/imports.ts'
import type { TestServer } from './client.ts'
import { openPromptModel } from './prompt-model.ts'

/** What `make up` made, in a directory of its own, under a project name of its own, on a port of its own. */
export type ComposeStack = TestServer &
  AsyncDisposable & {
    readonly project: string
    /** Where the model listens: on this machine. */
    readonly modelUrl: string
    /** What `make up` printed. */
    readonly said: string
    /** `make <target>`; rejects unless it succeeds. */
    make(target: string, env?: Readonly<Record<string, string>>): Promise<string>
    /** Compose with these arguments; rejects unless it succeeds. */
    compose(...args: readonly string[]): Promise<string>
  }

/** `make up` writes .env and workspaces beside the compose file: not into the tree that is tested. */
const copyTree = async (): Promise<string> => {
  const dir = await mkdtemp(join(tmpdir(), 'mgx-compose-'))
  for (const name of ['Makefile', 'docker-compose.yml', 'scripts']) {
    await cp(join(ROOT, name), join(dir, name), { recursive: true })
  }
  for (const name of ['infra', 'src', 'node_modules', 'package.json', 'package-lock.json', '.npmrc']) {
    await symlink(join(ROOT, name), join(dir, name))
  }
  return dir
}

/** One model API out of two, told apart by the prompt: the compose file has one. */
const openRouter = async (host: string, to: { readonly demo: string; readonly prompt: string }) => {
  const server = createServer(async (message, response) => {
    const body = Buffer.concat(await Array.fromAsync(message as AsyncIterable<Buffer>))
    const base = /"(content|text)":"bash /.test(body.toString()) ? to.prompt : to.demo
    const path = (message.url ?? '').replace(/^\/v1/, '')
    const sent = request(`${base}${path}`, { method: message.method, headers: message.headers }, (answer) => {
      answer.pipe(response.writeHead(answer.statusCode ?? 502, answer.headers))
    })
    sent.on('error', () => response.destroy())
    response.on('close', () => sent.destroy())
    sent.end(body)
  })
  const listening = Promise.withResolvers<void>()
  server.listen(0, host, listening.resolve)
  await listening.promise
  return {
    baseUrl: `http://${host}:${(server.address() as AddressInfo).port}/v1`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const succeed = ({ code, stdout, stderr }: Ran, what: string): string => {
  if (code !== 0) throw new Error(`${what} ended with ${code}:\n${stdout.slice(-2000)}${stderr.slice(-4000)}`)
  return stdout
}

/** Why there is no Compose v2 here, or `undefined`. */
export const noCompose = async (): Promise<string | undefined> => {
  for (const [command, ...args] of [['docker', 'compose'], ['docker-compose']] as const) {
    const ran = await runCommand(command, [...args, 'version', '--short']).catch(() => undefined)
    if (ran?.code === 0 && /^v?[2-9]\./.test(ran.stdout)) return undefined
  }
  return 'no Docker Compose v2: neither `docker compose` nor `docker-compose` in PATH'
}

type Env = Readonly<Record<string, string>>

const environment = (dir: string, image: string, modelUrl: string, port: number, more: Env): Env => ({
  COMPOSE_PROJECT_NAME: `mgxtest${randomBytes(4).toString('hex')}`,
  MGX_PORT: String(port),
  MGX_IMAGE: image,
  MGX_LOCAL_IMAGES: '1',
  OPENAI_BASE_URL: modelUrl,
  OPENAI_API_KEY: 'sk-demo',
  WORKER_CONCURRENCY: '1',
  PWD: dir,
  ...more,
})

type Commands = Pick<ComposeStack, 'make' | 'compose'> & { up(progress: (text: string) => void): Promise<string> }

const commandsIn = (dir: string, own: Env): Commands => {
  const options = { cwd: dir, env: { ...process.env, ...own } }
  const make = async (target: string, env: Env = {}) =>
    succeed(await runCommand('make', [target], { ...options, env: { ...options.env, ...env } }), `make ${target}`)
  return {
    make,
    up: async (progress) => succeed(await runCommand('make', ['up'], { ...options, progress }), 'make up'),
    compose: async (...args) =>
      succeed(await runCommand('sh', ['scripts/compose.sh', ...args], options), args.join(' ')),
  }
}

const takeDown = async ({ make, compose }: Commands, project: string): Promise<void> => {
  await make('down')
  await compose('down', '--volumes', '--remove-orphans')
  const agents = await docker(['ps', '--all', '--quiet', '--filter', `label=${LABELS.installation}=${project}`])
  for (const id of agents.stdout.split('\n').filter(Boolean)) await docker(['rm', '--force', '--volumes', id])
}

/**
 * Starts everything with `make up`: image `image`, stand-ins for MongoDB and Redis where theirs cannot be pulled, and the scripted
 * demo model on `host`, an address of this machine that containers reach; a prompt of `bash <command>` is run as it is. Disposing
 * takes all of it down, data included. @param more of the environment
 */
export const openComposeStack = async (image: string, host: string, more: Env = {}): Promise<ComposeStack> => {
  await using stack = new AsyncDisposableStack()
  const [demo, prompt] = [stack.use(await openDemoModel(host)), stack.use(await openPromptModel(host))]
  const model = stack.use(await openRouter(host, { demo: demo.baseUrl, prompt: prompt.baseUrl }))
  const dir = await copyTree()
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const port = await freePort()
  const own = environment(dir, image, model.baseUrl, port, more)
  const project = own.COMPOSE_PROJECT_NAME ?? ''
  const { up, make, compose } = commandsIn(dir, own)
  stack.defer(() => takeDown({ up, make, compose }, project))
  // It may take minutes when images are to be made first, and a test file that is silent for too long is ended.
  const said = await up((text) => void process.stderr.write(text))
  const url = `http://127.0.0.1:${port}`
  const owned = stack.move()
  const server: ComposeStack = {
    url,
    root: join(dir, 'workspaces'),
    project,
    modelUrl: model.baseUrl,
    said,
    make,
    compose,
    async restart() {
      await compose('restart', 'api', 'worker')
      await waitFor(async () => (await fetch(`${url}/readyz`)).ok, { what: 'the API to be ready again' })
      return server
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
  return server
}
