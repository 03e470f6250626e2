import { OwnershipLost } from '#scheduler/worker-context.ts'
import { createBell } from '../fakes/bell.ts'
import type { Call } from '../fakes/scripted-process.ts'

/** How long the code may take to make the call that the model says comes next, milliseconds. */
const PATIENCE_MS = 20_000

type Held = { readonly call: Call; readonly go: () => Promise<void> }

/** A process of the real code whose calls of store, queue and engine each wait until they are let through. */
export type Gate = {
  /** A port as this process sees it. */
  port<T extends object>(name: string, port: T): T
  /** Waits here, too, as in a call of this name. */
  hold(name: string, signal: AbortSignal): Promise<void>
  /** Waits for such a call, lets it through, and resolves when it is done (`done`), or has begun. */
  next(name: string, is?: (call: Call) => boolean, until?: 'done' | 'begun'): Promise<void>
  /** True while such a call waits. */
  waits(name: string): boolean
  /** From now on calls of this name are let through at once, or not. */
  frees(name: string, free: boolean): void
  /** What waits is never let through, and rejects. */
  bury(): void
}

/** They give a stream or a handle, and wait for nothing. */
const IMMEDIATE = new Set<PropertyKey>(['changes', 'logs', 'consume'])

const signalOf = (args: readonly unknown[]): AbortSignal | undefined => args.find((arg) => arg instanceof AbortSignal)

/** @param isFree calls that are never held */
export const createGate = (isFree: (call: Call) => boolean): Gate => {
  const held = new Set<Held>()
  const free = new Set<string>()
  const bell = createBell()
  const grave = Promise.withResolvers<never>()
  grave.promise.catch(() => {})
  let buried = false

  const enter = async <T>(call: Call, work: () => Promise<T>): Promise<T> => {
    if (buried) throw new OwnershipLost('of a process that is dead')
    if (isFree(call) || free.has(call.name)) return work()
    const open = Promise.withResolvers<void>()
    const done = Promise.withResolvers<void>()
    const aborted = Promise.withResolvers<never>()
    aborted.promise.catch(() => {})
    const signal = signalOf(call.args)
    const onAbort = () => aborted.reject(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    if (signal?.aborted) onAbort()
    const mine: Held = {
      call,
      go: () => {
        held.delete(mine)
        open.resolve()
        return done.promise
      },
    }
    held.add(mine)
    bell.ring()
    try {
      await Promise.race([open.promise, aborted.promise, grave.promise])
      return await work()
    } finally {
      held.delete(mine)
      signal?.removeEventListener('abort', onAbort)
      done.resolve()
    }
  }

  const find = (name: string, is: (call: Call) => boolean = () => true): Held | undefined =>
    [...held].find(({ call }) => call.name === name && is(call))

  return {
    frees: (name, isOn) => void (isOn ? free.add(name) : free.delete(name)),
    port: (name, port) =>
      new Proxy(port, {
        get(target, key) {
          const member: unknown = Reflect.get(target, key, target)
          if (typeof member !== 'function') return member
          if (IMMEDIATE.has(key)) return member.bind(target)
          return (...args: unknown[]) =>
            enter({ name: `${name}.${String(key)}`, args }, async () => member.apply(target, args))
        },
      }),
    hold: (name, signal) => enter({ name, args: [signal] }, async () => {}),
    waits: (name) => find(name) !== undefined,
    async next(name, is, until = 'done') {
      const late = AbortSignal.timeout(PATIENCE_MS)
      for (;;) {
        const found = find(name, is)
        if (found !== undefined) {
          const done = found.go()
          if (until === 'done') await done
          return
        }
        if (late.aborted) {
          const calls = [...held].map(({ call }) => call.name).join(', ') || 'nothing'
          throw new Error(`the model says that ${name} comes next; the code waits with ${calls}`)
        }
        await bell.rung(late)
      }
    },
    bury() {
      buried = true
      grave.reject(new OwnershipLost('of a process that is dead'))
    },
  }
}
