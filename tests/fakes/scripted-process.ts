import { OwnershipLost } from '#scheduler/worker-context.ts'

/** One call of a port, as a process makes it: `runs.transition`, `events.append`, `engine.start`, … */
export type Call = { readonly name: string; readonly args: readonly unknown[] }

export type At = 'before' | 'after'

/**
 * A process as a test sees it: all its calls of store, queue and engine go through here, so that it can fall asleep or
 * die between any two of them, as by SIGSTOP, SIGKILL or a power cut.
 */
export type ScriptedProcess = {
  /** Falls asleep at the first such call; resolves when it does. */
  sleepAt(when: At, call: (call: Call) => boolean): Promise<void>
  /** Dies at the first such call; resolves when it does. */
  dieAt(when: At, call: (call: Call) => boolean): Promise<void>
  sleep(): void
  wake(): void
  die(): void
  readonly dead: boolean
  /** While set, calls whose name begins like this reject. */
  cutOff: string | undefined
  /** Waited for before and after every call: other processes come in between. */
  jitter: (() => Promise<void>) | undefined
  /** Every call, in order, by name. */
  readonly calls: readonly Call[]
  /** A port as this process sees it. */
  port<T extends object>(name: string, port: T): T
  /** The end of the test: what the dead one was waiting for rejects, so that nothing of it stays behind. */
  bury(): void
}

/** They give a stream or a handle and wait for nothing. */
const IMMEDIATE = new Set<PropertyKey>(['changes', 'logs', 'consume'])

export const createScriptedProcess = (): ScriptedProcess => {
  const calls: Call[] = []
  const traps: { when: At; call: (call: Call) => boolean; spring: () => void }[] = []
  const burial = Promise.withResolvers<never>()
  burial.promise.catch(() => {})
  let awake: PromiseWithResolvers<void> | undefined
  let dead = false

  const self: ScriptedProcess = {
    sleepAt: (when, call) => trap(when, call, () => self.sleep()),
    dieAt: (when, call) => trap(when, call, () => self.die()),
    sleep() {
      awake ??= Promise.withResolvers<void>()
    },
    wake() {
      awake?.resolve()
      awake = undefined
    },
    die() {
      dead = true
    },
    get dead() {
      return dead
    },
    cutOff: undefined,
    jitter: undefined,
    calls,
    port: (name, port) =>
      new Proxy(port, {
        get(target, key) {
          const member: unknown = Reflect.get(target, key, target)
          if (typeof member !== 'function') return member
          if (IMMEDIATE.has(key)) return member.bind(target)
          return (...args: unknown[]) =>
            through({ name: `${name}.${String(key)}`, args }, () => member.apply(target, args))
        },
      }),
    bury() {
      dead = true
      self.wake()
      burial.reject(new OwnershipLost('of a process that is dead'))
    },
  }

  const trap = (when: At, call: (call: Call) => boolean, act: () => void): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const spring = () => {
      act()
      resolve()
    }
    traps.push({ when, call, spring })
    return promise
  }
  const pass = async (call: Call, when: At): Promise<void> => {
    const found = traps.findIndex((one) => one.when === when && one.call(call))
    if (found >= 0) for (const { spring } of traps.splice(found, 1)) spring()
    await self.jitter?.()
    while (awake !== undefined) await awake.promise
    if (dead) await burial.promise
  }
  const through = async <T>(call: Call, work: () => Promise<T>): Promise<T> => {
    calls.push(call)
    await pass(call, 'before')
    if (self.cutOff !== undefined && call.name.startsWith(self.cutOff)) throw new Error(`${call.name}: scripted outage`)
    const result = await work()
    await pass(call, 'after')
    return result
  }
  return self
}

/** A call by its name. */
export const named =
  (name: string) =>
  (call: Call): boolean =>
    call.name === name

/** The append that holds an event of this type, or of this `run_state`. */
export const appends =
  (what: string) =>
  ({ name, args }: Call): boolean =>
    name === 'events.append' &&
    (args[1] as { event_type: string; data: { state?: string } }[]).some(
      (event) => event.event_type === what || (event.event_type === 'run_state' && event.data.state === what),
    )

/** The compare-and-set whose patch has this field (with this value). */
export const patches =
  (field: string, value?: unknown) =>
  ({ name, args }: Call): boolean => {
    const patch = args[2] as Record<string, unknown> | undefined
    return (
      name === 'runs.transition' &&
      patch !== undefined &&
      field in patch &&
      (value === undefined || patch[field] === value)
    )
  }
