import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

/** The blocks of the README that it says are tested: name → code, as it stands there. */
export const readmeBlocks = async (): Promise<ReadonlyMap<string, string>> => {
  const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8')
  const found = readme.matchAll(/<!-- tested: ([\w, -]+) -->\n```\w+\n([\s\S]*?)```/g)
  return new Map([...found].map(([, name = '', code = '']) => [name, code]))
}

const run = promisify(execFile)

export type ShellOptions = { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> }

/** Runs a block with `sh`, as a reader would who copies it; `swaps` are this test's address and image for the README's. */
export const runBlock = async (
  code: string,
  swaps: Readonly<Record<string, string>>,
  { cwd, env = {} }: ShellOptions = {},
): Promise<{ readonly stdout: string; readonly stderr: string }> => {
  const script = Object.entries(swaps).reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`the block does not have ${from}`)
    return text.replaceAll(from, to)
  }, code)
  return run('sh', ['-euc', script], { cwd, env: { ...process.env, ...env }, timeout: 100_000 })
}
