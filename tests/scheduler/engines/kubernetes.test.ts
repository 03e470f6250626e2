import { test } from 'node:test'
import { engineSuite } from '../../conformance/engine.ts'
import { noCluster, openKubernetesBench } from './kubernetes-bench.ts'

if (noCluster) test('kubernetes: engine', { skip: noCluster })
else engineSuite('kubernetes', openKubernetesBench, { canBeAway: true })
