import { engineSuite } from '../conformance/engine.ts'
import type { EngineBench } from '../conformance/engine-bench.ts'
import { playSteps } from './play-steps.ts'
import { createScriptedEngine } from './scripted-engine.ts'
import { startFailure } from './scripted-world.ts'

const openBench = async (): Promise<EngineBench> => {
  const engine = createScriptedEngine({
    runner: playSteps,
    beforeStart(spec) {
      if (spec.image === 'missing') throw startFailure('image_missing')
    },
  })
  return {
    engine,
    image: 'any',
    reopen: () => engine,
    line: (steps) => `${JSON.stringify(steps)}\n`,
    spoil: (spec) => ({ spec: { ...spec, image: 'missing' }, failure: 'image_missing' }),
    outage: {
      begin: async () => engine.goAway(),
      end: async () => engine.comeBack(),
    },
    async [Symbol.asyncDispose]() {},
  }
}

engineSuite('scripted', openBench, { canBeAway: true })
