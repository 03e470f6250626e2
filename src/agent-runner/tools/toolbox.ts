import { type ToolSet, tool } from 'ai'
import { type BashDeps, createBashTool } from './bash.ts'
import { createEditTool } from './edit.ts'
import { createReadStamps } from './files.ts'
import type { ToolName } from './names.ts'
import { createReadTool } from './read.ts'
import type { AgentTool, ToolContext, ToolResult } from './tool.ts'
import { createWriteTool } from './write.ts'

/** A tool whose input has been checked: what the loop needs of it. */
export type ReadyTool = {
  readonly kind: AgentTool['kind']
  readonly risk: AgentTool['risk']
  readonly title: (input: unknown) => string
  readonly run: (input: unknown, context: ToolContext) => Promise<ToolResult>
}

export type Toolbox = AsyncDisposable & {
  /** For the model: declared, never executed by the SDK. */
  readonly declared: ToolSet
  find(name: string): ReadyTool | undefined
}

const ready = <Input>({ input: schema, kind, risk, title, run }: AgentTool<Input>): ReadyTool => ({
  kind,
  risk,
  title: (input) => title(schema.parse(input)),
  run: (input, context) => run(schema.parse(input), context),
})

/** The cast: the SDK's own types do not agree with each other under `exactOptionalPropertyTypes`. */
const declare = <Input>({ description, input }: AgentTool<Input>) =>
  tool({ description, inputSchema: input }) as ToolSet[string]

/** The tools of one run; disposing stops what commands left running. */
export const createToolbox = (deps: BashDeps): Toolbox => {
  const stamps = createReadStamps()
  const read = createReadTool(deps.workspace, stamps)
  const write = createWriteTool(deps.workspace, stamps)
  const edit = createEditTool(deps.workspace, stamps)
  const bash = createBashTool(deps)
  const tools: Record<ToolName, ReadyTool> = {
    read: ready(read),
    write: ready(write),
    edit: ready(edit),
    bash: ready(bash),
  }
  return {
    declared: { read: declare(read), write: declare(write), edit: declare(edit), bash: declare(bash) },
    find: (name) => (Object.hasOwn(tools, name) ? tools[name as ToolName] : undefined),
    [Symbol.asyncDispose]: bash.close,
  }
}
