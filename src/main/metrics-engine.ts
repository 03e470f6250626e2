import { EngineError, type SandboxEngine } from '#scheduler/engines/engine.ts'

const isAway = (error: unknown): boolean => error instanceof EngineError && error.failure === 'engine_unavailable'

/** The same engine; whether it answers is told at every call. `reconcile` makes one every ten seconds. */
export const watchEngine = (engine: SandboxEngine, say: (isUp: boolean) => void): SandboxEngine =>
  new Proxy(engine, {
    get(target, key) {
      const member: unknown = Reflect.get(target, key, target)
      if (typeof member !== 'function') return member
      return (...args: unknown[]): unknown => {
        const answer: unknown = member.apply(target, args)
        if (!(answer instanceof Promise)) return answer
        answer.then(
          () => say(true),
          (error: unknown) => {
            if (isAway(error)) say(false)
          },
        )
        return answer
      }
    },
  })
