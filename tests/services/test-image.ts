import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmod, copyFile, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type Docker from 'dockerode'
import { SHELL_RUNNER } from '../conformance/shell-runner.ts'
import { inPath } from './machine.ts'

const exec = promisify(execFile)

/** What test programs use. */
const PROGRAMS = [
  'sh',
  'cat',
  'chmod',
  'env',
  'head',
  'id',
  'ls',
  'mkdir',
  'sleep',
  'stat',
  'tail',
  'touch',
  'tr',
  'wc',
  'yes',
]

const DIRECTORIES = ['dev', 'etc', 'home/agent', 'proc', 'run/mgx', 'sys', 'tmp', 'mnt/workspace']

/** runc up to 1.1 gives a tmpfs the mode that the directory under it has in the image, whatever was asked for. */
const MODES: Readonly<Record<string, number>> = { tmp: 0o1777, 'home/agent': 0o700 }

const copyInto = async (root: string, from: string, to = from): Promise<void> => {
  await mkdir(join(root, dirname(to)), { recursive: true })
  await copyFile(await realpath(from), join(root, to))
}

/** The shared libraries of a program and the loader, as ldd(1) names them. */
const librariesOf = async (program: string): Promise<string[]> => {
  const { stdout } = await exec('ldd', [program]).catch(() => ({ stdout: '' }))
  return stdout.match(/\/\S+/g) ?? []
}

const fill = async (root: string): Promise<void> => {
  for (const directory of DIRECTORIES) {
    await mkdir(join(root, directory), { recursive: true })
    await chmod(join(root, directory), MODES[directory] ?? 0o755)
  }
  // As in the image of mgx: see slot-paths.ts.
  await symlink('/mnt/workspace', join(root, 'workspace'))
  for (const name of PROGRAMS) {
    const program = inPath(name)
    if (program === undefined) throw new Error(`the test image needs ${name}, and it is not in PATH`)
    await copyInto(root, program, `/bin/${name}`)
    for (const library of await librariesOf(program)) await copyInto(root, library)
  }
  await writeFile(join(root, 'bin/agent'), SHELL_RUNNER)
  await chmod(join(root, 'bin/agent'), 0o755)
}

const importImage = async (docker: Docker, root: string, repo: string, tag: string): Promise<void> => {
  const tar = spawn('tar', ['-C', root, '--owner=0', '--group=0', '-c', '.'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const changes = 'ENTRYPOINT ["/bin/agent"]'
  const answers = await docker.importImage(tar.stdout, { repo, tag, changes })
  await new Promise<void>((resolve, reject) => {
    docker.modem.followProgress(answers, (error, lines: { error?: string }[]) => {
      const failed = error?.message ?? lines.at(-1)?.error
      if (failed === undefined) resolve()
      else reject(new Error(`importing the test image failed: ${failed}`))
    })
  })
}

/**
 * A small image whose runner is `SHELL_RUNNER`: this machine's shell and a few tools with their libraries (4 MB), so that it
 * needs no registry and no download. Made once and kept in the daemon under a name that says what is in it.
 */
export const ensureBoxImage = async (docker: Docker): Promise<string> => {
  const recipe = JSON.stringify([PROGRAMS, DIRECTORIES, MODES, SHELL_RUNNER, 'workspace is a link'])
  const [repo, tag] = ['mgx-test-box', createHash('sha256').update(recipe).digest('hex').slice(0, 12)]
  const name = `${repo}:${tag}`
  const there = await docker
    .getImage(name)
    .inspect()
    .catch(() => undefined)
  if (there) return name
  const root = await mkdtemp(join(tmpdir(), 'mgx-box-'))
  try {
    await fill(root)
    await importImage(docker, root, repo, tag)
  } finally {
    await rm(root, { recursive: true, force: true })
  }
  return name
}
