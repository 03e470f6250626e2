import { spawn } from 'node:child_process'
import { inPath } from './machine.ts'

/** Answers of kubectl; rejects with its words when it fails. */
export type Kubectl = (args: readonly string[], input?: string) => Promise<string>

const run = (command: string, args: readonly string[], input: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', `${command} "$@"`, 'kubectl', ...args], { stdio: 'pipe' })
    let [out, err] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
    })
    // It may end before it has read everything; its exit code says how.
    child.stdin.on('error', () => {})
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve(out)
      else reject(new Error(`kubectl ${args.join(' ')}: exit code ${code}: ${err}`))
    })
    child.stdin.end(input)
  })

/** kubectl: KUBECTL, a command of the shell, else the one in PATH; or why there is none. */
export const findKubectl = (): Kubectl | { readonly skip: string } => {
  const command = process.env.KUBECTL || inPath('kubectl')
  if (!command) return { skip: 'Kubernetes: no kubectl in PATH, and KUBECTL does not name one' }
  return (args, input = '') => run(command, args, input)
}
