import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { RULE_CASES, WORLDS } from './cases.ts'
import { type Explored, explore, printTrace } from './explore.ts'
import { type Case, protocolModel } from './protocol.ts'
import { RULES } from './rules.ts'
import type { World } from './world.ts'

/** `make protocol`: the large cases too, and every trace that was found is printed. */
const LONG = process.env.PROTOCOL === 'long'

/** A state takes about a kilobyte. */
const MOST_STATES = 2_000_000

const said = ({ states, moves }: Explored<World>): string => `${states} states, ${moves} moves`

const explored = new Map<Case, Explored<World>>()

/** Several rules may share a case: with all of them on it is the same one. */
const allOn = (of: Case): Explored<World> => {
  const found = explored.get(of) ?? explore(protocolModel(of), MOST_STATES)
  explored.set(of, found)
  return found
}

const holds = (t: TestContext, of: Case): void => {
  const found = allOn(of)
  t.diagnostic(`all rules on: ${said(found)}${found.complete ? '' : ', then the limit'}`)
  assert(found.violation === undefined, `\n${found.violation && printTrace(found.violation)}`)
  assert(found.complete || LONG, 'a case of the short list is explored whole')
}

for (const { rule, breaks, of, long } of RULE_CASES) {
  test(`${RULES[rule]}: found without the rule, and nothing with it`, (t) => {
    const found = explore(protocolModel(of, rule), MOST_STATES)
    const { violation } = found
    assert(violation !== undefined, `nothing found in ${said(found)}`)
    t.diagnostic(`without: ${violation.trace.length} steps, after ${said(found)}`)
    if (LONG) t.diagnostic(printTrace(violation))
    assert.equal(violation.promise, breaks, printTrace(violation))
    if (LONG || !long) holds(t, of)
  })
}

for (const [name, { long, ...of }] of Object.entries(WORLDS)) {
  if (LONG || !long) test(`every order of ${name} keeps every promise`, (t) => holds(t, of))
}
