import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { GATEWAY_EVENTS_PATH, GATEWAY_MODEL_PATH } from '#contracts/gateway-wire.ts'
import { checkRuns, type Over } from '../chaos/check.ts'
import { inWorld, LIMIT, sharedWorld, type Watched, type World } from '../chaos/world.ts'
import { freePort } from '../helpers.ts'
import { bridgeAddress } from '../services/bridge.ts'
import { openDocker } from '../services/docker.ts'
import { logsOf } from './generate.ts'
import type { Stack } from './stack.ts'

/** Everything that a command can look at, and what it may not do. */
const LOOK_AROUND = [
  'env; cat /proc/*/environ | tr "\\0" "\\n"; cat /proc/*/cmdline | tr "\\0" " "; cat /run/mgx/* /etc/hosts',
  'echo "uid=$(id -u)"; grep -E "CapEff|NoNewPrivs" /proc/self/status',
  'touch /usr/written 2>&1; ls /var/run/docker.sock 2>&1; head -c 300 /proc/1/environ 2>&1',
].join('; ')

const outputOf = ({ log }: Over): string => {
  const ended = log.find(({ event_type }) => event_type === 'tool_end')
  return ended?.event_type === 'tool_end' ? ended.data.output : ''
}

/** What Docker itself shows of the container, to whoever may ask it. */
const shownByDocker = async ({ stack, document }: World, watched: Watched): Promise<string> => {
  const { container_id = '' } = await document(watched)
  const { Config } = await stack.docker.getContainer(container_id).inspect()
  return JSON.stringify(Config)
}

const secretsOf = ({ modelKey, mongo, redis, servicesUrl, agentsUrl = '' }: Stack): string[] => {
  const passwords = [servicesUrl, agentsUrl].flatMap((url) => new URL(url || 'x:').password || [])
  return [modelKey, mongo.url, redis.url, servicesUrl, ...passwords]
}

const checkSecrets = async (world: World): Promise<void> => {
  const watched = await world.ask('g', { command: LOOK_AROUND })
  await watched.talking()
  const shown = await shownByDocker(world, watched)
  watched.release()
  const [over] = await checkRuns(world.stack, watched)
  if (over === undefined) throw new Error('no run')
  const said = `${shown}${JSON.stringify(over.log)}${await logsOf(world.stack.urls[0], over.run)}`
  for (const secret of secretsOf(world.stack))
    assert.ok(!said.includes(secret), 'no secret is shown, logged or printed')
  const output = outputOf(over)
  assert.doesNotMatch(output, /OPENAI_API_KEY=|MONGODB_URL=|REDIS_URL=|"token"/)
  assert.match(output, /PWD=\/workspace/, 'it did look')
  assert.match(output, /uid=1000\b/)
  assert.match(output, /CapEff:\s+0{16}\b/)
  assert.match(output, /NoNewPrivs:\s+1\b/)
  assert.match(output, /touch: .*Read-only file system/)
  assert.match(output, /environ.*Permission denied/)
  assert.match(output, /docker\.sock.*No such file/)
}

/** The names that another system took for keys: of sessions, runs, workspaces; and none. */
const keysOf = (world: World): string[] => ['', world.stack.sessionId('victim'), world.stack.sessionId('g2'), 'default']

const checkKeys = async (world: World, address: string): Promise<void> => {
  const victim = await world.ask('victim')
  await victim.talking()
  const tries = [...keysOf(world), victim.run.run_id].flatMap((key) =>
    [GATEWAY_EVENTS_PATH, `${GATEWAY_MODEL_PATH}/models`].map(
      (path) =>
        `curl -s --noproxy "*" -m 10 -o /dev/null -w "%{http_code} " -H "authorization: Bearer ${key}" ${address}${path}`,
    ),
  )
  const watched = await world.ask('g2', { command: `${tries.join('; ')}; echo; ls /run/mgx 2>&1` })
  watched.release()
  victim.release()
  const [over] = await checkRuns(world.stack, watched, victim)
  const answers = over === undefined ? '' : outputOf(over)
  assert.deepEqual(
    answers.match(/\b\d{3}\b/g),
    tries.map(() => '401'),
    answers,
  )
}

const overTcp = async (t: TestContext): Promise<void> => {
  const found = await openDocker()
  if ('skip' in found) return t.skip(found.skip)
  const host = await bridgeAddress(found.docker)
  const port = String(await freePort(host))
  const env = { GATEWAY_TCP_HOST: host, GATEWAY_TCP_PORT: port }
  await inWorld({ env }, (world) => checkKeys(world, `http://host.docker.internal:${port}`))(t)
}

const LOOKING = "g: cat /proc/1/environ in the agent's container shows no key and no address"
const KNOCKING = "g2: ids are no keys: another session's gateway does not open"

describe('baseline: what an agent can get at', { concurrency: true }, () => {
  const onSocket = sharedWorld({})
  const knock = (world: World) => checkKeys(world, '--unix-socket /run/mgx/gw.sock http://gateway')
  test(`${LOOKING}, gateway`, LIMIT, onSocket(checkSecrets))
  test(`${KNOCKING}, over a socket`, LIMIT, onSocket(knock))
  test(`${LOOKING}, direct`, LIMIT, inWorld({ channel: 'direct' }, checkSecrets))
  test(`${KNOCKING}, over TCP`, LIMIT, overTcp)
})
