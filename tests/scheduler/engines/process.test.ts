import { engineSuite } from '../../conformance/engine.ts'
import { openProcessBench } from './process-bench.ts'

engineSuite('process', openProcessBench, { canBeAway: false })
