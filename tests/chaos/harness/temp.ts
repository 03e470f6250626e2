import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What dockerd asks of a containerd that it finds hanging, before it starts it anew: on a machine that is very busy. */
const STACKS = /^containerd\.\d+\.stacks\.log$/

/** A directory for everything that any process of this run makes: what is in it afterwards was left behind. */
export const openTemp = async (): Promise<AsyncDisposable & { readonly dir: string; left(): Promise<string[]> }> => {
  const before = process.env.TMPDIR
  const dir = await mkdtemp(join(tmpdir(), 'mgx-chaos-'))
  await chmod(dir, 0o755)
  process.env.TMPDIR = dir
  return {
    dir,
    left: async () => (await readdir(dir)).filter((name) => !STACKS.test(name)),
    async [Symbol.asyncDispose]() {
      if (before === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = before
      await rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
    },
  }
}
