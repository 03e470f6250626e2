import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import type { Environment } from './set-up.ts'

const say = (words: string) => console.log(`set-up: ${words}`)

/** What the command printed, or why it failed: the last line that it said. */
const runCommand = async (command: string): Promise<{ readonly printed: string } | { readonly why: string }> => {
  const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  const [printed, said, code] = await Promise.all([text(child.stdout), text(child.stderr), exited])
  process.stderr.write(said)
  return code === 0 ? { printed } : { why: said.trim().split('\n').at(-1) ?? `exit code ${code}` }
}

/**
 * Starts a cluster by MGX_TEST_CLUSTER: a command that is called with `up` and prints NAME=value, a line each, for the environment
 * of the tests; and with `down` at the end. Nothing is started where KUBECONFIG names a cluster, or without the command.
 */
export const startCluster = async (stack: AsyncDisposableStack): Promise<Environment> => {
  const { KUBECONFIG: given, MGX_TEST_CLUSTER: command } = process.env
  if (given || !command) return {}
  say('a Kubernetes cluster')
  stack.defer(async () => {
    const ended = await runCommand(`${command} down`)
    if ('why' in ended) throw new Error(`the cluster was not taken down: ${ended.why}`)
  })
  const started = await runCommand(`${command} up`)
  if ('why' in started) {
    say(`NO KUBERNETES CLUSTER: ${started.why} Its tests are skipped`)
    return { MGX_TEST_NO_CLUSTER: started.why }
  }
  say('the cluster is ready')
  const pairs = started.printed.split('\n').flatMap((line) => {
    const at = line.indexOf('=')
    return at > 0 ? [[line.slice(0, at), line.slice(at + 1)] as const] : []
  })
  return Object.fromEntries(pairs)
}
