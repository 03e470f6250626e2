/**
 * One atomic step that somebody can take.
 * `step`: what happens by itself sooner or later. `fault`: something breaks; no promise may need it, none may break by it.
 * `mend`: what broke comes back; it may never.
 */
export type Move<S> = {
  readonly who: string
  readonly what: string
  readonly kind: 'step' | 'fault' | 'mend'
  readonly next: S
  /** The promise that this very step breaks. */
  readonly breaks?: string
}

export type Model<S> = {
  readonly initial: S
  readonly moves: (state: S) => Move<S>[]
  /** Equal for states that are the same, or the same but for names. */
  readonly key: (state: S) => string
  /** The promise that does not hold in this state. */
  readonly broken: (state: S) => string | undefined
  /** Names of goals: from every state each one must be reachable by moves of these kinds alone. */
  readonly goals: Readonly<Record<string, { readonly kinds: readonly Move<S>['kind'][]; is: (state: S) => boolean }>>
}

export type Violation<S> = {
  readonly promise: string
  readonly trace: readonly Move<S>[]
}

export type Explored<S> = {
  readonly states: number
  readonly moves: number
  /** False: `limit` was reached first. */
  readonly complete: boolean
  /** The shortest way to break a promise. */
  readonly violation?: Violation<S>
}

/** Moves between known states; columns, because there are millions. */
type Edges = { readonly from: number[]; readonly to: number[]; readonly kind: Move<unknown>['kind'][] }

type Kinds = readonly Move<unknown>['kind'][]

/** The first state from which no goal can be reached by moves of these kinds. */
const firstStuck = (count: number, isGoal: (n: number) => boolean, edges: Edges, kinds: Kinds): number | undefined => {
  const before = Array.from({ length: count }, (): number[] => [])
  edges.kind.forEach((kind, n) => {
    if (kinds.includes(kind)) before[edges.to[n] as number]?.push(edges.from[n] as number)
  })
  const can = new Uint8Array(count)
  const open: number[] = []
  const reach = (n: number) => {
    if (can[n] === 1) return
    can[n] = 1
    open.push(n)
  }
  for (let n = 0; n < count; n++) if (isGoal(n)) reach(n)
  for (let n = open.pop(); n !== undefined; n = open.pop()) before[n]?.forEach(reach)
  const stuck = can.indexOf(0)
  return stuck < 0 ? undefined : stuck
}

/** Plays the way to state `n` again: keys may stand for states with other names, so the moves are looked for anew. */
export const traceTo = <S>(
  model: Model<S>,
  keys: readonly string[],
  parents: readonly number[],
  n: number,
): Move<S>[] => {
  const way: number[] = []
  for (let at = n; at > 0; at = parents[at] as number) way.unshift(at)
  let state = model.initial
  return way.map((at) => {
    const move = model.moves(state).find(({ next }) => model.key(next) === keys[at])
    if (move === undefined) throw new Error('the model is not a function of its state')
    state = move.next
    return move
  })
}

/**
 * Every state that can be reached, breadth first: so a violation comes with a shortest trace. Stops at the first broken
 * promise, or after `limit` states; goals are looked at when all states are known.
 */
export const explore = <S>(model: Model<S>, limit = Number.POSITIVE_INFINITY): Explored<S> => {
  const states: S[] = [model.initial]
  const keys = [model.key(model.initial)]
  const parents = [0]
  const known = new Map([[keys[0] as string, 0]])
  const edges: Edges = { from: [], to: [], kind: [] }
  const count = () => ({ states: states.length, moves: edges.kind.length })
  const broke = (promise: string, n: number, last?: Move<S>): Explored<S> => {
    const trace = traceTo(model, keys, parents, n)
    return { ...count(), complete: false, violation: { promise, trace: last ? [...trace, last] : trace } }
  }
  for (let from = 0; from < states.length; from++) {
    for (const move of model.moves(states[from] as S)) {
      // A name in the trace must be the one that the trace itself uses.
      if (move.breaks !== undefined) {
        const trace = traceTo(model, keys, parents, from)
        const last = model.moves(trace.at(-1)?.next ?? model.initial).find(({ breaks }) => breaks === move.breaks)
        return broke(move.breaks, from, last ?? move)
      }
      const key = model.key(move.next)
      let to = known.get(key)
      if (to === undefined) {
        to = states.length
        known.set(key, to)
        keys.push(key)
        states.push(move.next)
        parents.push(from)
        const promise = model.broken(move.next)
        if (promise !== undefined) return broke(promise, to)
        if (states.length >= limit) return { ...count(), complete: false }
      }
      edges.from.push(from)
      edges.to.push(to)
      edges.kind.push(move.kind)
    }
  }
  for (const [goal, { kinds, is }] of Object.entries(model.goals)) {
    const stuck = firstStuck(states.length, (n) => is(states[n] as S), edges, kinds)
    if (stuck !== undefined) return broke(goal, stuck)
  }
  return { ...count(), complete: true }
}

/** A trace for people: one numbered line for each step; faults are marked. */
export const printTrace = <S>({ promise, trace }: Violation<S>): string => {
  const width = Math.max(...trace.map(({ who }) => who.length))
  const lines = trace.map(
    ({ who, what, kind }, n) =>
      `${String(n + 1).padStart(3)}  ${who.padEnd(width)}  ${kind === 'fault' ? 'FAULT ' : ''}${what}`,
  )
  return [`broken: ${promise}`, ...lines].join('\n')
}
