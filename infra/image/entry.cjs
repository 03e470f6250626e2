'use strict'
/**
 * The first file that runs in every container of mgx: picks the entry point named by its one argument.
 *
 * The agent's bundle is compiled from a code cache of our own, because Node's compile cache keeps one directory per uid
 * and the uid of an agent container is the operator's choice. `bake` makes that cache while the image is built,
 * `code-cache` tells whether this container can use it.
 */
const { readFileSync, writeFileSync } = require('node:fs')
const { enableCompileCache } = require('node:module')
const { Script } = require('node:vm')

const BUNDLE = '/opt/runner/agent.js'
const CACHE = '/opt/runner/agent.cache'
const SERVICES = ['api', 'worker', 'mongo-init']
const SOURCES = '/opt/mgx/app/src'
/** Node's own compile cache, for the image's default user; saves the services half a second and 20 MB. */
const SERVICE_CACHE = '/opt/mgx/cache'
/** What api and worker load, also what they import late. None of it does anything by being loaded. */
const SERVICE_PARTS = [
  'main/config',
  'main/root',
  'main/logger',
  'main/shutdown',
  'main/serve-api',
  'main/open-worker',
  'store/mongodb',
  'queue/bullmq',
  'scheduler/engines/docker',
  'scheduler/engines/docker-check',
]

function readCache() {
  try {
    return readFileSync(CACHE)
  } catch {
    return undefined
  }
}

/** The bundle is wrapped in CommonJS's function at build time, and pure ASCII (esbuild's default): no copy, no decoding. */
function compile(cachedData) {
  return new Script(readFileSync(BUNDLE, 'latin1'), { filename: BUNDLE, cachedData })
}

function run(script) {
  const bundle = { exports: {} }
  script.runInThisContext().call(bundle.exports, bundle.exports, require, bundle, BUNDLE, '/opt/runner')
}

/** Run once first: what has been compiled by then goes into the cache. */
function bake() {
  const script = compile(undefined)
  process.argv[2] = '--warm-up'
  process.once('exit', (code) => {
    if (code === 0) writeFileSync(CACHE, script.createCachedData(), { mode: 0o644 })
  })
  run(script)
}

const name = process.argv[2] ?? 'agent'
if (name === 'agent') {
  run(compile(readCache()))
} else if (SERVICES.includes(name)) {
  enableCompileCache(SERVICE_CACHE)
  void import(`${SOURCES}/main/${name}.ts`)
} else if (name === 'bake-services') {
  enableCompileCache(SERVICE_CACHE)
  for (const part of SERVICE_PARTS) void import(`${SOURCES}/${part}.ts`)
} else if (name === 'bake') {
  bake()
} else if (name === 'code-cache') {
  const cache = readCache()
  const accepted = cache !== undefined && compile(cache).cachedDataRejected === false
  process.stdout.write(`code cache ${accepted ? 'accepted' : 'rejected'}, ${cache?.length ?? 0} bytes\n`)
} else {
  process.stderr.write(
    `mgx: there is no entry point "${name}". There are: agent (the default), ${SERVICES.join(', ')}\n`,
  )
  process.exitCode = 64
}
