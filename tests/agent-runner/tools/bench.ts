import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { commandEnv } from '#agent-runner/tools/command-env.ts'
import type { ToolResult } from '#agent-runner/tools/tool.ts'
import { createToolbox, type Toolbox } from '#agent-runner/tools/toolbox.ts'
import { tempDir } from '../../helpers.ts'

export type Bench = {
  /** Holds the workspace and whatever must stay out of the tools' reach. */
  readonly dir: string
  readonly workspace: string
  readonly toolbox: Toolbox
  readonly progress: string[]
  use(name: string, input: object, signal?: AbortSignal): Promise<ToolResult>
}

export type BenchOptions = {
  readonly env?: Readonly<Record<string, string>>
  readonly inContainer?: boolean
  readonly refusal?: string
}

/** The real tools on a workspace of their own. */
export const openBench = async (t: Pick<TestContext, 'after'>, options: BenchOptions = {}): Promise<Bench> => {
  const dir = await tempDir(t)
  const workspace = join(dir, 'workspace')
  await mkdir(workspace)
  const toolbox = createToolbox({
    workspace,
    env: commandEnv({ ...process.env, HOME: workspace, ...options.env }),
    inContainer: options.inContainer ?? false,
    refusal: async () => options.refusal,
    clean: (text) => text,
  })
  t.after(() => toolbox[Symbol.asyncDispose]())
  const progress: string[] = []
  let calls = 0
  return {
    dir,
    workspace,
    toolbox,
    progress,
    use: (name, input, signal = new AbortController().signal) => {
      const tool = toolbox.find(name)
      if (tool === undefined) throw new Error(`no tool ${name}`)
      calls += 1
      return tool.run(input, { callId: `call_${calls}`, signal, progress: (text) => progress.push(text) })
    },
  }
}
