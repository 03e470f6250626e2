import { execFile } from 'node:child_process'
import { accessSync, chmodSync, constants, existsSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

export const exec = promisify(execFile)

/** The first executable of this name in PATH. */
export const inPath = (name: string): string | undefined =>
  (process.env.PATH ?? '')
    .split(delimiter)
    .map((dir) => join(dir, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })

/** Why packages cannot be installed here, or `undefined` when they can. */
export const whyNoInstall = (): string | undefined => {
  if (process.env.SETUP === 'none') return 'SETUP=none forbids to install it'
  if (!existsSync('/etc/debian_version')) return 'only on Debian is it installed by itself'
  if (process.getuid?.() !== 0) return 'only root can install it'
  return undefined
}

const POLICY = '/usr/sbin/policy-rc.d'

/** Says it, then installs Debian packages. No service that they bring is started: tests start their own. */
export const aptInstall = async (packages: readonly string[]): Promise<void> => {
  console.error(`set-up: apt-get install ${packages.join(' ')}`)
  const guard = !existsSync(POLICY)
  if (guard) {
    // 101 = "action forbidden by policy", as invoke-rc.d(8) has it.
    writeFileSync(POLICY, '#!/bin/sh\nexit 101\n')
    chmodSync(POLICY, 0o755)
  }
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    const wait = ['-o', 'DPkg::Lock::Timeout=300', '-q', '-y']
    const install = ['install', '--no-install-recommends', ...wait, ...packages]
    try {
      await exec('apt-get', install, { env })
    } catch {
      // Package lists are often absent or old on a fresh machine.
      await exec('apt-get', ['update', ...wait], { env })
      await exec('apt-get', install, { env })
    }
  } finally {
    if (guard) rmSync(POLICY, { force: true })
  }
}

/** The executable, installed from Debian when it is missing and may be; otherwise why not. */
export const findOrInstall = async (
  command: string,
  packages: readonly string[],
): Promise<{ path: string } | { why: string }> => {
  const path = inPath(command)
  if (path !== undefined) return { path }
  const reason = whyNoInstall()
  if (reason !== undefined) return { why: `no ${command} in PATH, and ${reason}` }
  try {
    await aptInstall(packages)
  } catch (error) {
    return { why: `no ${command} in PATH, and apt-get failed: ${String(error).split('\n')[0]}` }
  }
  const installed = inPath(command)
  return installed === undefined ? { why: `apt-get brought no ${command}` } : { path: installed }
}
