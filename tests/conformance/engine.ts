import { after, before, describe, test } from 'node:test'
import { attests } from './engine-attest.ts'
import { type EngineBench, type Ground, openGround } from './engine-bench.ts'
import { adoption, fencing, outages, waitingForOthers } from './engine-fencing.ts'
import { startAndEnd, stopAndRemove } from './engine-life.ts'
import { logs } from './engine-logs.ts'
import { warmStarts } from './engine-warm.ts'

/**
 * What every `SandboxEngine` must do, as the comment on the port says it.
 * @param canBeAway the bench has an `outage`
 * @param isWarm the engine can start containers ahead, and the bench has a `slotsRoot`
 */
export const engineSuite = (
  name: string,
  open: () => Promise<EngineBench>,
  { canBeAway, isWarm = false }: { readonly canBeAway: boolean; readonly isWarm?: boolean },
): void => {
  describe(`${name}: engine`, () => {
    let opened: Ground | undefined
    const ground = (): Ground => {
      if (!opened) throw new Error('the engine was not opened')
      return opened
    }
    before(async () => {
      opened = await openGround(open)
    })
    after(() => opened?.[Symbol.asyncDispose]())

    test('it can run here', () => ground().engine.check())
    startAndEnd(ground)
    stopAndRemove(ground)
    logs(ground)
    attests(ground)
    adoption(ground)
    waitingForOthers(ground)
    fencing(ground)
    if (isWarm) warmStarts(ground)
    if (canBeAway) outages(ground)
  })
}
