import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { chown, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Attestation } from '#contracts/attestation.ts'
import type { RunResult } from '#contracts/run.ts'
import { follow, getJson, post, type TestServer } from '../e2e/client.ts'
import { openServer } from '../e2e/embedded-server.ts'
import { openPromptModel } from '../e2e/prompt-model.ts'
import { waitFor } from '../helpers.ts'
import type { Asked, Findings } from './checks.ts'

const MIB = 1024 * 1024

export const PROBES: readonly string[] = [
  join(import.meta.dirname, 'probe.py'),
  join(import.meta.dirname, '../infra/secret-probe.py'),
]

/** Small, so that reaching them is quick; the runner itself needs about 100 MB. */
const LIMITS = { memory: '256m', tmp: '96m', cpuQuota: 50_000, pids: 64 } as const

export const ASKED: Asked = {
  uid: 1000,
  gid: 1000,
  pids: LIMITS.pids,
  cpuQuota: LIMITS.cpuQuota,
  tmpBytes: 96 * MIB,
  // In the image /workspace is a link to it.
  mounts: ['/mnt/workspace rw', '/run/mgx ro'],
  sockets: ['/run/mgx/gw.sock'],
}

/** An mgx whose agents do what the prompt says, and beside it a workspace that is none of theirs. */
export type ProbedServer = TestServer & {
  /** In the name of a file in another session's workspace. */
  readonly marker: string
  /** The first half of the key of the model, which only the worker has. */
  readonly key: string
  /** A run from its prompt to its result. */
  run(session: string, prompt: string): Promise<Ran>
}

export type Ran = { readonly result: RunResult; readonly attestation: Attestation | undefined }

const resultOf = (url: string): Promise<RunResult> =>
  waitFor(
    async () => {
      const response = await fetch(`${url}/result`)
      return response.status === 200 && ((await response.json()) as RunResult)
    },
    { what: 'the result', timeoutMs: 110_000 },
  )

const attestationOf = async (url: string): Promise<Attestation | undefined> => {
  const answer = await getJson<Attestation | { code: string }>(url)
  return 'checks' in answer ? answer : undefined
}

const runOn = async ({ url }: TestServer, session: string, prompt: string): Promise<Ran> => {
  const { run_id, events_url } = await post(url, session, prompt)
  await Array.fromAsync(follow(`${url}${events_url}`))
  const of = `${url}/api/agent/sessions/${session}`
  const result = await resultOf(`${of}/runs/${run_id}`)
  return { result, attestation: await attestationOf(`${of}/attestation?run_id=${run_id}`) }
}

const giveFiles = async (root: string, session: string, files: readonly string[]): Promise<string> => {
  const workspace = join(root, `${session}-files`)
  await mkdir(workspace, { recursive: true, mode: 0o755 })
  for (const file of files) await copyFile(file, join(workspace, file.split('/').at(-1) ?? ''))
  if (process.getuid?.() === 0) await chown(workspace, ASKED.uid, ASKED.gid)
  return workspace
}

export const openProbedServer = async (
  stack: AsyncDisposableStack,
  image: string,
  more: Readonly<Record<string, string>> = {},
): Promise<ProbedServer> => {
  const model = stack.use(await openPromptModel())
  const secret = `sk-${randomBytes(24).toString('hex')}`
  const marker = `of-another-${randomBytes(6).toString('hex')}`
  const t = { after: (fn: () => Promise<void>) => stack.defer(fn) } as Parameters<typeof openServer>[0]
  const server = await openServer(t, {
    ENGINE: 'docker',
    AGENT_CONTAINER_IMAGE: image,
    AGENT_NETWORK: 'none',
    AGENT_USER: `${ASKED.uid}:${ASKED.gid}`,
    AGENT_CONTAINER_MEMORY_LIMIT: LIMITS.memory,
    AGENT_CONTAINER_CPU_QUOTA: String(LIMITS.cpuQuota),
    AGENT_CONTAINER_PIDS_LIMIT: String(LIMITS.pids),
    AGENT_TMP_SIZE: LIMITS.tmp,
    AGENT_WORKSPACE_QUOTA: '64m',
    OPENAI_BASE_URL: model.baseUrl,
    OPENAI_API_KEY: secret,
    ...more,
  })
  const other = await giveFiles(server.root, 'other', [])
  await writeFile(join(other, marker), 'not for you')
  return {
    ...server,
    marker,
    key: secret.slice(0, secret.length / 2),
    run: (session, prompt) => runOn(server, session, prompt),
  }
}

/** What the probe finds as a command of an agent. */
export const probeAgent = async (server: ProbedServer): Promise<{ readonly found: Findings; readonly ran: Ran }> => {
  const workspace = await giveFiles(server.root, 'probed', PROBES)
  const command = `python3 probe.py ${server.marker} ${server.key} >findings.json 2>errors`
  const ran = await server.run('probed', `bash ${command}; ln -s ${server.root} up; ls up ../other-files >>errors 2>&1`)
  const said = await readFile(join(workspace, 'findings.json'), 'utf8').catch(() => '')
  assert.ok(said.startsWith('{'), await readFile(join(workspace, 'errors'), 'utf8').catch(() => 'it did not run'))
  return { found: JSON.parse(said) as Findings, ran }
}
