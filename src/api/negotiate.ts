import { MgxError } from '#contracts/errors.ts'

export const JSON_TYPE = 'application/json'
export const SSE_TYPE = 'text/event-stream'

type Range = { readonly type: string; readonly quality: number }

const ranges = (accept: string): Range[] =>
  accept.split(',').map((part) => {
    const [type = '', ...parameters] = part.split(';').map((text) => text.trim().toLowerCase())
    const q = parameters.find((text) => text.startsWith('q='))
    const quality = q === undefined ? 1 : Number(q.slice(2))
    return { type, quality: Number.isNaN(quality) ? 1 : quality }
  })

/** How much a range says about a type: exactly it, its family, anything, or nothing (RFC 9110, 12.5.1). */
const specificity = (range: string, type: string): number => {
  if (range === type) return 3
  if (range === `${type.slice(0, type.indexOf('/'))}/*`) return 2
  return range === '*/*' ? 1 : 0
}

const rank = (wanted: readonly Range[], type: string): { quality: number; specific: number } => {
  let best = { quality: 0, specific: 0 }
  for (const range of wanted) {
    const specific = specificity(range.type, type)
    if (specific > best.specific) best = { quality: range.quality, specific }
  }
  return best
}

/**
 * The offer that an `Accept` header asks for: the highest quality, then the one it names most exactly, then the first.
 * No header asks for the first. Throws NOT_ACCEPTABLE when it takes none of them.
 */
export const negotiate = <T extends string>(accept: string | undefined, offers: readonly [T, ...T[]]): T => {
  if (accept === undefined || accept.trim() === '') return offers[0]
  const wanted = ranges(accept)
  const [best] = offers
    .map((type) => ({ type, ...rank(wanted, type) }))
    .filter(({ quality }) => quality > 0)
    .sort((a, b) => b.quality - a.quality || b.specific - a.specific)
  if (best !== undefined) return best.type
  throw new MgxError(
    'NOT_ACCEPTABLE',
    `This route answers with ${offers.join(' or ')}.`,
    `accept: ${accept.slice(0, 200)}`,
  )
}
