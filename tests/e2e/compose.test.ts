import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { Attestation } from '#contracts/attestation.ts'
import { docker } from '../infra/image.ts'
import { bridgeAddress } from '../services/bridge.ts'
import { openDocker } from '../services/docker.ts'
import { testImage } from '../services/image.ts'
import { follow, getJson, post } from './client.ts'
import { type ComposeStack, noCompose, openComposeStack } from './compose-stack.ts'
import { LIMIT, mainJobSuite } from './main-job.ts'

const SET_UP = { timeout: 400_000 }

const found = await openDocker()
const skip = 'skip' in found ? found.skip : await noCompose()

const inspectOne = async (stack: ComposeStack, service: string) => {
  const [container] = JSON.parse((await docker(['inspect', `${stack.project}-${service}-1`])).stdout)
  return container
}

/** A shell where the agents are: on their network, as their user. */
const asAgent = (stack: ComposeStack, image: string, ...command: readonly string[]) => {
  const place = ['--rm', '--network', `${stack.project}_agents`, '--workdir', '/opt/mgx/app']
  return docker(['run', ...place, '--entrypoint', command[0] ?? '', image, ...command.slice(1)])
}

/** Tries all at once; exits with 0 and says which of them answered. */
const reached = (places: readonly (readonly [string, number])[]) => [
  ...['bash', '-c'],
  `${places.map(([host, port]) => `(timeout 3 bash -c 'exec 3<>/dev/tcp/${host}/${port}' 2>/dev/null && echo ${host}:${port}) &`).join('\n')}\nwait`,
]

/** Beside the services, as the worker sees it; a private address, because tests have no other. */
const PLACE = 'place:8080'
const EGRESS = { AGENT_EGRESS: PLACE, EGRESS_ALLOW_PRIVATE: '10.0.0.0/8,172.16.0.0/12,192.168.0.0/16' }

/** A server that stands for the internet: where the worker gets, and agents do not. Answers with its address. */
const openPlace = async (stack: ComposeStack, image: string): Promise<string> => {
  const script = "require('http').createServer((_, answer) => answer.end('out there')).listen(8080)"
  const where = ['--network', `${stack.project}_data`, '--network-alias', 'place', '--name', `${stack.project}-place`]
  const { code, stderr } = await docker(['run', '-d', '--rm', ...where, '--entrypoint', 'node', image, '-e', script])
  assert.equal(code, 0, stderr)
  const [{ NetworkSettings }] = JSON.parse((await docker(['inspect', `${stack.project}-place`])).stdout)
  return Object.values<{ IPAddress: string }>(NetworkSettings.Networks)[0]?.IPAddress ?? ''
}

describe('make up', { skip: skip ?? false, ...SET_UP }, () => {
  let stack: ComposeStack
  let image: string

  before(async () => {
    if ('skip' in found) return
    image = await testImage()
    stack = await openComposeStack(image, await bridgeAddress(found.docker), EGRESS)
  }, SET_UP)
  after(() => stack?.[Symbol.asyncDispose](), SET_UP)

  test('says where it is and how to go on', () => {
    assert.match(stack.said, new RegExp(`up: ${stack.url} `))
    assert.match(stack.said, /make down/)
  })

  mainJobSuite(async () => stack)

  test('runs nothing of ours as root, and publishes the API on loopback only', LIMIT, async () => {
    for (const service of ['api', 'worker']) {
      const { Config, HostConfig } = await inspectOne(stack, service)
      assert.match(Config.User, /^[1-9]\d*:\d+$/, service)
      assert.deepEqual(HostConfig.CapDrop, ['ALL'], service)
      assert.equal(HostConfig.ReadonlyRootfs, true, service)
    }
    const published = (
      await docker(['ps', '--filter', `label=com.docker.compose.project=${stack.project}`])
    ).stdout.match(/\S+->\S+/g)
    assert.deepEqual(published, [`${new URL(stack.url).host}->8000/tcp`])
    const owner = (await inspectOne(stack, 'worker')).Config.User.split(':').map(Number)
    const { uid, gid } = await stat(join(stack.root, 'one-files/index.html'))
    assert.deepEqual([uid, gid], owner, 'agents work as the user that the worker is')
  })

  test('what held an agent was read from the kernel, by a worker that is in a container itself', LIMIT, async () => {
    const { source, checks } = await getJson<Attestation>(`${stack.url}/api/agent/sessions/one/attestation`)
    assert.equal(source, 'exec')
    const gaps = checks.filter(({ ok }) => !ok)
    assert.deepEqual(gaps, [])
  })

  test('figures of both services are there for whoever is on their network', LIMIT, async () => {
    const scrape = async (service: string) =>
      (await docker(['exec', `${stack.project}-api-1`, 'curl', '-fsS', `http://${service}:9090/metrics`])).stdout
    assert.match(await scrape('api'), /^mgx_service_up\{service="queue"\} 1$/m)
    assert.match(await scrape('worker'), /^mgx_service_up\{service="engine"\} 1$/m)
  })

  test('agents reach MongoDB and nothing else of ours', LIMIT, async () => {
    const services = await Promise.all(
      (
        [
          ['redis', 6379],
          ['api', 8000],
          ['api', 9090],
          ['worker', 9090],
        ] as const
      ).map(async ([service, port]) => {
        const { NetworkSettings } = await inspectOne(stack, service)
        const places = Object.values<{ IPAddress: string }>(NetworkSettings.Networks).map(({ IPAddress }) => IPAddress)
        return [service, ...places].map((place) => [place, port] as const)
      }),
    )
    // The machine itself, as the agents' network would show it, and at an address where something listens.
    const inspected = await docker(['network', 'inspect', `${stack.project}_agents`])
    const gateway: string = JSON.parse(inspected.stdout)[0].IPAM.Config[0].Gateway
    const model = new URL(stack.modelUrl)
    const machine = [Number(new URL(stack.url).port), 6379, 2375, Number(model.port)].map(
      (port) => [gateway, port] as const,
    )
    const others = [...services.flat(), ...machine, [model.hostname, Number(model.port)] as const]
    const ran = await asAgent(stack, image, ...reached([['mongodb', 27017], ...others]))
    assert.deepEqual([ran.stdout, ran.code], ['mongodb:27017\n', 0], ran.stderr)
  })

  test('commands of agents get out through the worker only, where the policy lets them', LIMIT, async () => {
    try {
      const address = await openPlace(stack, image)
      const machine = new URL(stack.modelUrl).host
      const open = (to: string) =>
        `timeout 3 bash -c '(exec 3<>/dev/tcp/${to.replace(':', '/')}) 2>/dev/null' && echo reached ${to}`
      const sockets = [`${address}:8080`, '1.1.1.1:443', '169.254.169.254:80', machine].map(open)
      const run = await post(
        stack.url,
        'ways',
        [
          `bash curl -sS -m 20 --retry 9 --retry-all-errors --retry-delay 1 http://${PLACE}/`,
          `bash for to in example.com api:8000 redis:6379 mongodb:27017 ${machine}; do curl -sS -m 20 http://$to/; done`,
          `bash ${sockets.map((one) => `(${one}) &`).join(' ')} wait; echo tried`,
        ].join('\n'),
      )
      const events = await Array.fromAsync(follow(`${stack.url}${run.events_url}`))
      const [out, closed, direct] = events.flatMap((event) =>
        event.event_type === 'tool_end' ? [event.data.output] : [],
      )
      assert.match(out ?? '', /^out there/)
      assert.equal(closed?.match(/^mgx egress: /gm)?.length, 5, closed ?? '')
      assert.match(direct ?? '', /^tried\n\(exit code 0/)
      assert.equal(events.findLast((event) => event.event_type === 'finish')?.data.cause, 'completed')
      const { runs } = await getJson<{ runs: { egress: unknown }[] }>(`${stack.url}/api/agent/sessions/ways/runs`)
      assert.deepEqual(runs[0]?.egress, { allow: [PLACE], enforced: true })
    } finally {
      await docker(['rm', '--force', `${stack.project}-place`])
    }
  })

  test('what an agent gets of MongoDB: it may read and add events, and not change or see more', LIMIT, async () => {
    const { Config } = await inspectOne(stack, 'worker')
    const url = Config.Env.find((line: string) => line.startsWith('AGENT_MONGODB_URL=')).slice(
      'AGENT_MONGODB_URL='.length,
    )
    const script = `
      const { MongoClient } = require('mongodb')
      const db = new MongoClient(${JSON.stringify(url)}).db('mgx')
      const events = db.collection('events')
      const code = (promise) => promise.then(() => 'may', (error) => error.code)
      Promise.all([
        code(events.findOne()), code(events.deleteMany({})), code(events.updateMany({}, { $set: { x: 1 } })),
        code(db.collection('runs').findOne()), code(events.drop()), code(db.collection('mine').insertOne({})),
      ]).then((codes) => { console.log(codes.join(' ')); process.exit() })`
    const { stdout, stderr } = await asAgent(stack, image, 'node', '-e', script)
    assert.equal(stdout, 'may 13 13 13 13 13\n', stderr)
  })

  test('one variable changes the channel', LIMIT, async () => {
    await stack.make('up', { AGENT_CHANNEL: 'gateway' })
    assert.match(await stack.compose('logs', '--no-log-prefix', 'worker'), /"channel":"gateway"/)
    const run = await post(stack.url, 'gateway', 'Make a page')
    const events = await Array.fromAsync(follow(`${stack.url}${run.events_url}`))
    assert.equal(events.at(-1)?.event_type, 'finish')
    assert.equal(events.findLast((event) => event.event_type === 'finish')?.data.cause, 'completed')
  })

  test('down and up again: nothing is left meanwhile, and what was said is still there', SET_UP, async () => {
    const events = () => getJson<{ events: unknown[] }>(`${stack.url}/api/agent/sessions/one/events?limit=1000`)
    const before = await events()
    assert.ok(before.events.length > 10)
    await stack.make('down')
    const left = await docker([
      'ps',
      '--all',
      '--quiet',
      '--filter',
      `label=com.docker.compose.project=${stack.project}`,
    ])
    assert.equal(left.stdout, '')
    assert.equal((await docker(['network', 'ls', '--quiet', '--filter', `name=${stack.project}`])).stdout, '')
    await stack.make('up')
    assert.deepEqual(await events(), before)
  })

  test('says what is wrong: no model, and a value that a service refuses', SET_UP, async () => {
    await assert.rejects(
      stack.make('up', { OPENAI_API_KEY: '', OPENAI_BASE_URL: '' }),
      /no model API: put OPENAI_API_KEY/,
    )
    const refused = stack.make('up', { OPENAI_BASE_URL: 'nonsense' })
    await assert.rejects(refused, /--- worker: .*restart.*\n.*OPENAI_BASE_URL=nonsense: must be an http/)
  })
})
