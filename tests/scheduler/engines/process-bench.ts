import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createProcessEngine } from '#scheduler/engines/process.ts'
import type { EngineBench } from '../../conformance/engine-bench.ts'
import { SHELL_RUNNER, toShell } from '../../conformance/shell-runner.ts'

export type ProcessBench = EngineBench & { readonly stateDir: string; readonly command: readonly string[] }

export const openProcessBench = async (): Promise<ProcessBench> => {
  const dir = await mkdtemp(join(tmpdir(), 'mgx-process-'))
  const script = join(dir, 'runner.sh')
  await writeFile(script, SHELL_RUNNER)
  const stateDir = join(dir, 'state')
  const command = ['/bin/sh', script]
  const open = () => createProcessEngine({ stateDir, command, production: false, log: { warn: () => {} } })
  return {
    engine: open(),
    stateDir,
    command,
    image: 'none',
    reopen: open,
    line: toShell,
    spoil: (spec) => {
      const path = join(spec.workspace.path, 'not-there')
      return { spec: { ...spec, workspace: { path, hostPath: path } }, failure: 'workspace_unavailable' }
    },
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true, maxRetries: 5 }),
  }
}
