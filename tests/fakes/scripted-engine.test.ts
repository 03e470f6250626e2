import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClaims } from '#scheduler/claims.ts'
import { engineSuite } from '../conformance/engine.ts'
import type { EngineBench } from '../conformance/engine-bench.ts'
import { playSteps } from './play-steps.ts'
import { createScriptedEngine } from './scripted-engine.ts'
import { startFailure } from './scripted-world.ts'

const openBench = async (): Promise<EngineBench> => {
  const slotsRoot = await mkdtemp(join(tmpdir(), 'mgx-scripted-'))
  const engine = createScriptedEngine({
    claims: createClaims(slotsRoot),
    runner: playSteps,
    beforeStart(spec) {
      if (spec.image === 'missing') throw startFailure('image_missing')
    },
  })
  return {
    engine,
    image: 'any',
    slotsRoot,
    reopen: () => engine,
    line: (steps) => `${JSON.stringify(steps)}\n`,
    spoil: (spec) => ({ spec: { ...spec, image: 'missing' }, failure: 'image_missing' }),
    outage: {
      begin: async () => engine.goAway(),
      end: async () => engine.comeBack(),
    },
    [Symbol.asyncDispose]: () => rm(slotsRoot, { recursive: true, force: true }),
  }
}

engineSuite('scripted', openBench, { canBeAway: true, isWarm: true })
