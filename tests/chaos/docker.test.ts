import assert from 'node:assert/strict'
import type { NetConnectOpts } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { sleep, tempDir } from '../helpers.ts'
import { openCuttableProxy } from '../services/cuttable-proxy.ts'
import { checkPromises, ranOnce } from './check.ts'
import { flowing, inWorld, isFinish, LIMIT, type World } from './world.ts'

/** How long the daemon is out of reach. */
const OUTAGE_MS = 10_000

const daemonAddress = (): NetConnectOpts => {
  const { protocol, hostname, port, pathname } = new URL(process.env.DOCKER_HOST || 'unix:///var/run/docker.sock')
  return protocol === 'unix:' ? { path: pathname } : { host: hostname, port: Number(port) }
}

/** The daemon is this machine's and serves others: the worker alone loses it. */
const away = async (t: TestContext): Promise<void> => {
  const socket = join(await tempDir(t), 'docker.sock')
  await using proxy = await openCuttableProxy(socket, daemonAddress())
  const body = async (world: World): Promise<void> => {
    const { stack } = world
    const [long, short, killed] = await Promise.all(['long', 'short', 'killed'].map((name) => world.ask(name)))
    if (!long || !short || !killed) throw new Error('three runs')
    await Promise.all([long, short, killed].map((watched) => flowing(watched, 3)))
    await proxy.cut()
    short.release()
    await short.client.until('its finish, though nobody can ask Docker', isFinish)
    await stack.docker.getContainer((await world.document(killed)).container_id ?? '').kill()
    const late = await world.ask('late')
    await flowing(long)
    await sleep(OUTAGE_MS)
    assert.equal((await world.document(short)).container_gone, false, 'its removal is owed')
    await proxy.restore()
    await late.talking()
    for (const watched of [long, late]) watched.release()
    const [one, two, three, four] = await checkPromises(stack, long, short, killed, late)
    for (const over of [one, two, four]) assert.equal(over?.result.cause, 'completed')
    assert.equal(three?.result.cause, 'container_exited')
    assert.equal(three?.result.container_exit_code, 137)
    await ranOnce(stack, long, short, killed, late)
  }
  await inWorld({ env: { DOCKER_HOST: `unix://${socket}` } }, body)(t)
}

test('Docker is out of reach for ten seconds in the middle of runs: each ends as it would have', LIMIT, away)
