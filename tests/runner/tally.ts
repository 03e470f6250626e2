import { relative } from 'node:path'
import type { TestEvent } from './execute.ts'
import { ROOT } from './imports.ts'

export type Tally = {
  readonly passed: number
  readonly failed: number
  /** One line each: where and why. */
  readonly skipped: readonly string[]
}

const reasonOf = (value: string | boolean) => (typeof value === 'string' && value !== '' ? value : 'no reason given')

/**
 * Counts the tests of one file: leaves only. A suite counts when it is skipped as a whole (one skip) or when a hook of it
 * fails (one failure); a file counts when it breaks outside its tests, or has none (one failure).
 */
export const tally = (file: string, events: readonly TestEvent[]): Tally => {
  let passed = 0
  let failed = 0
  const skipped: string[] = []
  // Children are reported before their parent: hasChildren[n] = something was reported at nesting n since the last parent.
  const hasChildren: boolean[] = []
  for (const { type, data } of events) {
    if (type !== 'test:pass' && type !== 'test:fail') continue
    const isParent = hasChildren[data.nesting + 1] === true
    hasChildren[data.nesting + 1] = false
    hasChildren[data.nesting] = true
    const excuse = data.skip ?? data.todo
    const isSuite = data.details.type === 'suite'
    if (excuse !== undefined && excuse !== false) {
      skipped.push(`${relative(ROOT, file)}: ${data.name}: ${reasonOf(excuse)}`)
    } else if (type === 'test:fail') {
      const error = data.details.error as { failureType?: string } | undefined
      if (!((isSuite || isParent) && error?.failureType === 'subtestsFailed')) failed++
    } else if (!isSuite && !isParent) {
      passed++
    }
  }
  return { passed, failed, skipped }
}

/** The last line of a test run, alone on its line. */
export const summaryLine = (tallies: readonly Tally[]): string => {
  const sum = (count: (one: Tally) => number) => tallies.reduce((total, one) => total + count(one), 0)
  return `${sum((t) => t.passed)} passed, ${sum((t) => t.failed)} failed, ${sum((t) => t.skipped.length)} skipped`
}
