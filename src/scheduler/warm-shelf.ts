import type { WarmSlot } from './engines/warm-engine.ts'

/** The slots that are ready, oldest first. */
export type WarmShelf = {
  readonly size: number
  has(slot: string): boolean
  names(): readonly string[]
  /** `gone` is called when a slot on the shelf dies. */
  put(slot: WarmSlot): void
  take(): WarmSlot | undefined
  /** Takes off and removes what does not fit, and waits for nothing. */
  drop(unfit: (slot: WarmSlot, sinceMs: number) => boolean): void
  /** Resolves when all that was dropped is removed, or could not be. */
  settled(): Promise<void>
}

export const createShelf = (remove: (slot: WarmSlot) => Promise<void>, onGone: () => void): WarmShelf => {
  const kept: { readonly slot: WarmSlot; readonly since: number }[] = []
  const removing = new Set<Promise<void>>()

  const retire = (slot: WarmSlot): void => {
    const work: Promise<void> = remove(slot).finally(() => removing.delete(work))
    removing.add(work)
  }
  const drop: WarmShelf['drop'] = (unfit) => {
    const now = Date.now()
    for (const one of kept.filter(({ slot, since }) => unfit(slot, now - since))) {
      kept.splice(kept.indexOf(one), 1)
      retire(one.slot)
    }
  }
  return {
    get size() {
      return kept.length
    },
    names: () => kept.map(({ slot }) => slot.slot),
    has: (name) => kept.some(({ slot }) => slot.slot === name),
    put(slot) {
      kept.push({ slot, since: Date.now() })
      const gone = () => {
        if (!kept.some((one) => one.slot === slot)) return
        drop((one) => one === slot)
        onGone()
      }
      slot.gone.addEventListener('abort', gone, { once: true })
      if (slot.gone.aborted) gone()
    },
    take: () => kept.shift()?.slot,
    drop,
    async settled() {
      await Promise.all(removing)
    },
  }
}
