import { type Move, traceTo } from './explore.ts'
import { type Case, movesOf, protocolModel, scopeOf } from './protocol.ts'
import type { World } from './world.ts'

/** The place of whoever takes a step, before and after it. */
const placeOf = (w: World, who: string): string => {
  const [name = '', id = ''] = who.split(' ').filter((word) => word !== 'in')
  const n = Number(id) - 1
  if (name === 'client') return `${w.clients[n]?.at} ${w.clients[n]?.task?.at ?? ''}`
  if (name === 'worker') return w.workers[n]?.slot?.at ?? 'free'
  if (name === 'reconcile') return `${w.workers[n]?.pass?.why} ${w.workers[n]?.pass?.at ?? ''}`
  return w.boxes.find((box) => box.id === id)?.runner.at ?? ''
}

/** What kind of step this is, whichever run, worker or container it is about. */
const kindOf = (w: World, { who, what, next }: Move<World>): string =>
  [who, placeOf(w, who), what.replace(/\b[rs]\d+'?(\.\d+)?/g, '_'), placeOf(next, who)].join(' | ').replace(/\d+/g, 'n')

export type Way = readonly { readonly before: World; readonly move: Move<World> }[]

/** Ways through a case that take every kind of step it has (of those that `may` be taken) at least once, each as short as can be. */
export const waysThrough = (of: Case, may: (w: World, move: Move<World>) => boolean): Way[] => {
  const all = movesOf(scopeOf(of))
  const base = protocolModel(of)
  const model = { ...base, moves: (w: World) => all(w).filter((move) => may(w, move)) }
  const states = [model.initial]
  const keys = [model.key(model.initial)]
  const parents = [0]
  const known = new Set(keys)
  const first = new Map<string, { readonly from: number; readonly what: string; readonly who: string }>()
  for (let from = 0; from < states.length; from++) {
    const w = states[from] as World
    for (const move of model.moves(w)) {
      const kind = kindOf(w, move)
      if (!first.has(kind)) first.set(kind, { from, what: move.what, who: move.who })
      const key = model.key(move.next)
      if (known.has(key)) continue
      known.add(key)
      keys.push(key)
      states.push(move.next)
      parents.push(from)
    }
  }
  const covered = new Set<string>()
  const ways: Way[] = []
  // The longest first: it takes many kinds on its way.
  for (const [kind, { from, what, who }] of [...first].reverse()) {
    if (covered.has(kind)) continue
    let w = model.initial
    const way = traceTo(model, keys, parents, from).map((move) => {
      const step = { before: w, move }
      w = move.next
      return step
    })
    const last = model.moves(w).find((move) => move.what === what && move.who === who)
    if (last === undefined) throw new Error('workers of a case that is replayed must differ')
    way.push({ before: w, move: last })
    for (const step of way) covered.add(kindOf(step.before, step.move))
    ways.push(way)
  }
  return ways
}
