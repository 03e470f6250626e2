import { access, constants, stat } from 'node:fs/promises'
import { errnoOf } from './tools/tool.ts'

/** What a failed look at a workspace means, and what to do about it. Pure. */
export const remedyFor = (workspace: string, code: string | undefined, user: string): string =>
  code === 'ENOENT'
    ? `the workspace ${workspace} does not exist; mount a directory there`
    : `the agent (user ${user}) cannot write to the workspace ${workspace} (${code ?? 'unknown error'}); on the host: chown -R ${user} <the directory>, or start the container with --user "$(id -u):$(id -g)"`

/** Why the agent cannot work in this directory, and what to do about it; `undefined` when it can. */
export const workspaceProblem = async (workspace: string): Promise<string | undefined> => {
  try {
    if (!(await stat(workspace)).isDirectory()) return `the workspace ${workspace} is not a directory; mount one there`
    await access(workspace, constants.R_OK | constants.W_OK | constants.X_OK)
    return undefined
  } catch (error) {
    const user = `${process.getuid?.() ?? 1000}:${process.getgid?.() ?? 1000}`
    return remedyFor(workspace, errnoOf(error), user)
  }
}
