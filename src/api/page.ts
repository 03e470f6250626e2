import { MgxError } from '#contracts/errors.ts'

/** One more than a page tells whether there is a next one. */
export const askFor = (limit: number, cursor: string | undefined) => ({
  limit: limit + 1,
  ...(cursor === undefined ? {} : { before: cursor }),
})

/** Cuts what was asked for with `askFor` to the page; `next` is the id of its last one, or null on the last page. */
export const cutPage = <T>(found: readonly T[], limit: number, idOf: (item: T) => string) => {
  const items = found.slice(0, limit)
  const last = items.at(-1)
  return { items, next: found.length > limit && last !== undefined ? idOf(last) : null }
}

/** A cursor is an id that an earlier page ended with, so that there is such a thing. */
export const badCursor = (cursor: string): MgxError =>
  new MgxError('INVALID_CURSOR', 'This cursor was never given out.', `cursor: ${cursor.slice(0, 100)}`)
