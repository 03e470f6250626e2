import type { House } from './house.ts'
import { nodesOf } from './house.ts'
import { startAgain } from './site.ts'
import type { Turns } from './turns.ts'

const LOOK_MS = 500
/** Lines of its log that tell why. */
const LAST_LINES = 5

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

export type Watchdog = Disposable & {
  /** Processes of ours that ended though nobody had told them to. */
  readonly ended: readonly string[]
}

/** Looks whether the houses' processes live, unless a fault has one in hand; one that has ended by itself is started again. */
export const startWatchdog = (houses: readonly House[], turns: Turns): Watchdog => {
  const ended: string[] = []
  let over = false
  const look = async (): Promise<void> => {
    for (const { name, node } of houses.flatMap(nodesOf)) {
      if (over || turns.isTaken(name) || isAlive(node.pid)) continue
      using _turn = await turns.take(name)
      const last = node.log().trimEnd().split('\n').slice(-LAST_LINES).join(' | ')
      ended.push(`${name} ended by itself: ${last}`)
      await startAgain(name, node)
    }
  }
  let timer: NodeJS.Timeout | undefined
  const next = () => {
    if (over) return
    timer = setTimeout(() => {
      look()
        .catch((error: unknown) => void ended.push(String(error)))
        .finally(next)
    }, LOOK_MS)
  }
  next()
  return {
    ended,
    [Symbol.dispose]() {
      over = true
      clearTimeout(timer)
    },
  }
}
