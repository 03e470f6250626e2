import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { openDocker } from '../services/docker.ts'
import { testImage } from '../services/image.ts'
import { rowsOf } from './checks.ts'
import { probeDocker, probeHardQuota } from './docker.ts'
import { probeMongo } from './mongodb.ts'
import { probeProcess } from './process.ts'
import { type Row, tableOf } from './table.ts'
import { HAS_IPV6, probeWeak } from './weak.ts'
import { ASKED, openProbedServer } from './world.ts'

const found = await openDocker()
const noDocker = 'skip' in found ? found.skip : false

const names = (rows: readonly Row[], ok: boolean): string[] =>
  rows.filter((row) => row.ok === ok).map(({ what }) => what)

const holds = (title: string, rows: readonly Row[]): void =>
  assert.deepEqual(names(rows, false), [], tableOf(title, rows))

describe('isolation, shown from inside', () => {
  test('docker: an agent can do nothing beyond its workspace', { skip: noDocker }, async () => {
    await using stack = new AsyncDisposableStack()
    holds('docker', await probeDocker(await openProbedServer(stack, await testImage())))
  })

  test('docker: nobody writes beyond a hard quota', { skip: noDocker }, async () => {
    await using stack = new AsyncDisposableStack()
    holds('docker', await probeHardQuota(stack, await testImage()))
  })

  test('docker: every line fails in a container that nothing holds', { skip: noDocker }, async () => {
    if ('skip' in found) return
    // So little that even on a machine with much else to do a process gets more.
    const asked = { ...ASKED, cpuQuota: 1_000 }
    const rows = rowsOf(await probeWeak(found.docker, await testImage()), asked)
    assert.ok(rows.length > 44)
    const excused = HAS_IPV6 ? [] : ['reach metadata fd00:ec2::254']
    assert.deepEqual(names(rows, true), excused, tableOf('weak', rows))
  })

  test('process: says that it isolates nothing', async () => holds('process', await probeProcess()))

  test("mongodb: the agents' user may read and add events, and nothing else", async (t) => {
    const rows = await probeMongo()
    if ('skip' in rows) return t.skip(rows.skip)
    holds('mongodb', rows)
  })

  test('mongodb: with the rights of the services the same lines fail', async (t) => {
    const rows = await probeMongo('services')
    if ('skip' in rows) return t.skip(rows.skip)
    const server = ['read users', 'make a user', 'read the log of changes of everything', 'stop the server']
    const both = ['read an event', 'add an event']
    assert.deepEqual(names(rows, true), [...both, ...server])
  })
})
