import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmod, copyFile, mkdir, mkdtemp, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
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

/** A program and what it needs to be loaded, at the same places. */
const copyProgram = async (root: string, program: string, to: string): Promise<void> => {
  await copyInto(root, program, to)
  for (const library of await librariesOf(program)) await copyInto(root, library)
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
    await copyProgram(root, program, `/bin/${name}`)
  }
  await writeFile(join(root, 'bin/agent'), SHELL_RUNNER)
  await chmod(join(root, 'bin/agent'), 0o755)
}

const importImage = async (docker: Docker, root: string, repo: string, tag: string, changes: string): Promise<void> => {
  const tar = spawn('tar', ['-C', root, '--owner=0', '--group=0', '-c', '.'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const answers = await docker.importImage(tar.stdout, { repo, tag, changes })
  await new Promise<void>((resolve, reject) => {
    docker.modem.followProgress(answers, (error, lines: { error?: string }[]) => {
      const failed = error?.message ?? lines.at(-1)?.error
      if (failed === undefined) resolve()
      else reject(new Error(`importing the test image failed: ${failed}`))
    })
  })
}

/** An image kept in the daemon under a name that says what is in it, made by `fillRoot` unless it is there. */
const ensureMade = async (
  docker: Docker,
  repo: string,
  { recipe, changes }: { readonly recipe: string; readonly changes: string },
  fillRoot: (root: string) => Promise<void>,
): Promise<string> => {
  const tag = createHash('sha256').update(recipe).digest('hex').slice(0, 12)
  const name = `${repo}:${tag}`
  const there = await docker
    .getImage(name)
    .inspect()
    .catch(() => undefined)
  if (there) return name
  const root = await mkdtemp(join(tmpdir(), 'mgx-box-'))
  try {
    await fillRoot(root)
    await importImage(docker, root, repo, tag, changes)
  } finally {
    await rm(root, { recursive: true, force: true })
  }
  return name
}

/**
 * A small image whose runner is `SHELL_RUNNER`: this machine's shell and a few tools with their libraries (4 MB), so that it
 * needs no registry and no download.
 */
export const ensureBoxImage = (docker: Docker): Promise<string> => {
  const recipe = JSON.stringify([PROGRAMS, DIRECTORIES, MODES, SHELL_RUNNER, 'workspace is a link'])
  return ensureMade(docker, 'mgx-test-box', { recipe, changes: 'ENTRYPOINT ["/bin/agent"]' }, fill)
}

/** An image of one program of this machine, in its PATH, and a shell. */
export const ensureProgramImage = async (docker: Docker, program: string): Promise<string> => {
  const bash = inPath('bash') ?? '/bin/bash'
  const { size, mtimeMs } = await stat(program)
  const name = basename(program)
  return ensureMade(
    docker,
    `mgx-test-${name}`,
    { recipe: JSON.stringify([program, size, mtimeMs]), changes: 'ENV PATH=/bin' },
    async (root) => {
      await mkdir(join(root, 'tmp'), { recursive: true })
      await copyProgram(root, bash, '/bin/bash')
      await copyProgram(root, program, `/bin/${name}`)
    },
  )
}
