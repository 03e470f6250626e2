import { test } from 'node:test'
import { engineSuite } from '../../conformance/engine.ts'
import { noDocker, openDockerBench } from './docker-bench.ts'

if (noDocker) test('docker: engine', { skip: noDocker })
else engineSuite('docker', openDockerBench, { canBeAway: true, isWarm: true })
