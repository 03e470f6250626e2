/** The tools there are, apart from the registry: `agent_start` names them before anything heavy is loaded. */
export const TOOL_NAMES = ['read', 'write', 'edit', 'bash'] as const

export type ToolName = (typeof TOOL_NAMES)[number]
