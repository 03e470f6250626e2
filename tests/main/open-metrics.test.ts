import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { openMetrics } from '#main/open-metrics.ts'
import { tempDir, waitFor } from '../helpers.ts'
import { type Started, startRoot } from './process.ts'
import { metricNames, scrape, scrapeText } from './scrape.ts'

/** Nobody listens on port 1. */
const NOBODY = { MONGODB_URL: 'mongodb://127.0.0.1:1/?replicaSet=rs0', REDIS_URL: 'redis://127.0.0.1:1' }

const metricsUrl = ({ said }: Started): Promise<string> =>
  waitFor(() => /http:\/\/127\.0\.0\.1:\d+\/metrics/.exec(said().stdout)?.[0], { what: 'the address of the figures' })

test('an API whose services are away is scraped all the same', async (t) => {
  const api = await startRoot(t, 'api', { ...NOBODY, PORT: '0', METRICS_PORT: '0' })
  const url = await metricsUrl(api)
  const samples = await scrape(url)
  assert.equal(samples.get('mgx_service_up{service="store"}'), 0)
  assert.equal(samples.get('mgx_service_up{service="queue"}'), 0)
  assert.ok(!samples.has('mgx_waiting_runs'), 'an old figure is none')
  assert.ok((samples.get('process_resident_memory_bytes') ?? 0) > 0)
  const elsewhere = await fetch(new URL('/healthz', url))
  assert.equal(elsewhere.status, 404)
  assert.equal((await fetch(url, { method: 'POST' })).status, 404)
  api.child.kill('SIGTERM')
  assert.equal((await api.ended).code, 0)
})

test('where nobody asks for figures nothing is measured', async () => {
  const silent = { info: () => assert.fail('it says nothing'), warn: () => {} }
  assert.equal(await openMetrics(undefined, silent), undefined)
})

for (const name of ['worker', 'dev']) {
  test(`${name}: a port that is taken ends the start, and says what to set`, async (t) => {
    const other = createServer().listen(0, '127.0.0.1')
    t.after(() => other.close())
    await waitFor(() => other.listening)
    const { port } = other.address() as AddressInfo
    const env = { OPENAI_API_KEY: 'sk-test', ENGINE: 'process', WORKSPACES_ROOT: await tempDir(t) }
    const own = name === 'dev' ? env : { ...NOBODY, ...env }
    const started = await startRoot(t, name, { ...own, PORT: '0', METRICS_PORT: String(port) })
    const { code, stderr } = await started.ended
    assert.equal(code, 1)
    assert.equal(
      stderr,
      `mgx ${name}: port ${port} of 127.0.0.1 is in use. Stop what listens there, or set METRICS_PORT to another one.\n`,
    )
  })
}

test('docs/operations.md lists every metric of ours, and no other', async (t) => {
  const env = {
    WORKSPACES_ROOT: await tempDir(t),
    ENGINE: 'process',
    WARM_POOL_SIZE: '0',
    PORT: '0',
    METRICS_PORT: '0',
  }
  const server = await startRoot(t, 'dev', env)
  const url = await metricsUrl(server)
  await waitFor(() => server.said().stdout.includes('the API listens'), { what: 'the API to listen' })
  const ours = metricNames(await scrapeText(url)).filter((name) => name.startsWith('mgx_'))
  const page = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8')
  const listed = [...page.matchAll(/^\| `(mgx_[a-z_]+)` \|/gm)].map(([, name = '']) => name)
  // These come with a pool, and plain processes have none.
  const warm = listed.filter((name) => name.startsWith('mgx_warm_pool_'))
  assert.deepEqual([...ours, ...warm].sort(), listed.sort())
})
