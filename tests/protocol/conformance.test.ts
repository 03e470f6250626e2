import { type TestContext, test } from 'node:test'
import { shuffler } from '../conformance/store-world.ts'
import { cancel, generate, JOBS, RULE_CASES, SLEEPER, X, Y } from './cases.ts'
import { type Way, waysThrough } from './cover.ts'
import { explore, type Move } from './explore.ts'
import { type Case, initialWorld, movesOf, protocolModel, scopeOf } from './protocol.ts'
import { createReplay } from './replay.ts'
import type { World } from './world.ts'

/** What the code does not do at a word of ours: heartbeats, and a decision that comes while a call is under way. */
const isDrivable = (w: World, { who, what }: Move<World>): boolean => {
  if (what.startsWith('heartbeat')) return false
  if (!what.startsWith('follows the log')) return true
  const at = w.workers[Number(who.split(' ')[1]) - 1]?.slot?.at ?? ''
  return ['start.create', 'start.start', 'watch.exit'].includes(at)
}

const WORLDS: Readonly<Record<string, Case>> = {
  'one worker that may crash, and a cancel': {
    clients: [[generate('r1'), cancel('r1')]],
    workers: [X],
    tools: 1,
    faults: { crash: 1, 'api dies': 1 },
  },
  'two workers, one of which sleeps': {
    clients: [[generate('r1')]],
    workers: [SLEEPER, X],
    faults: { sleep: 1 },
  },
  'a second run': {
    clients: [[generate('r1'), generate('r2')]],
    workers: [JOBS],
    faults: { kill: 1, crash: 1 },
  },
  'two engines': {
    clients: [[generate('r1'), generate('r2', { session_id: 's2' })]],
    workers: [{ ...SLEEPER, sleeps: 'for good' }, Y],
    faults: { sleep: 1 },
  },
  'a container that vanishes or gets no job line': {
    clients: [[generate('r1', { key: 'k' })]],
    workers: [X],
    faults: { vanish: 1, crash: 1, 'no line': 2, 'api dies': 1, double: 1 },
  },
}

/** Steps that each way goes on for, at random, behind what it was chosen for: to see what comes of it. */
const MOST_STEPS = 120

const replay = async (t: TestContext, of: Case, way: Way, seed: number): Promise<number> => {
  const movesIn = movesOf(scopeOf(of))
  const dice = shuffler(seed * 7_919 + 13)
  let w = initialWorld(of)
  const play = await createReplay(t, w)
  const trace: string[] = []
  for (let n = 0; n < way.length + MOST_STEPS; n++) {
    const moves = movesIn(w).filter((move) => isDrivable(w, move))
    const move = way[n]?.move ?? moves[Math.min(moves.length - 1, Math.floor(dice() * moves.length))]
    if (move === undefined) break
    trace.push(`${String(n + 1).padStart(3)}  ${move.who}: ${move.what}`)
    try {
      await play({ before: w, move })
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}\n${trace.join('\n')}`, { cause: error })
    }
    w = move.next
  }
  return trace.length
}

/** The same order with the rules on: where the rule makes somebody do another thing, whoever's turn it was does that. */
const withRules = (of: Case, trace: readonly Move<World>[]): Way => {
  const movesIn = movesOf(scopeOf(of))
  let w = initialWorld(of)
  return trace.flatMap(({ who, what }) => {
    const own = movesIn(w).filter((move) => move.who === who && isDrivable(w, move))
    const move = own.find((one) => one.what === what) ?? own.find(({ kind }) => kind === 'step')
    if (move === undefined) return []
    const step = { before: w, move }
    w = move.next
    return [step]
  })
}

for (const { rule, of } of RULE_CASES) {
  // The code's clock is its own: a deadline does not pass, nor is an outage waited out, at a word of ours.
  if (of.late !== undefined || of.faults?.outage !== undefined) continue
  test(`the code does what the model does in the order that needs the rule ${rule}`, async (t) => {
    const { violation } = explore(protocolModel(of, rule))
    const way = withRules(of, violation?.trace ?? [])
    t.diagnostic(`${await replay(t, of, way, 0)} steps`)
  })
}

for (const [name, of] of Object.entries(WORLDS)) {
  test(`the code does what the model does: ${name}`, async (t) => {
    const ways = waysThrough(of, isDrivable)
    let steps = 0
    for (const [n, way] of ways.entries()) {
      await t.test(`way ${n + 1}`, async (t) => {
        steps += await replay(t, of, way, n)
      })
    }
    t.diagnostic(`${ways.length} ways, ${steps} steps`)
  })
}
