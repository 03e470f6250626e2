import { argv, exit, stderr, stdout } from 'node:process'
import { build } from 'esbuild'

/**
 * One minified CommonJS file out of src/main/runner.ts: `node infra/bundle-runner.ts <outfile>`.
 *
 * CommonJS and a single file, because that starts fastest: every `await import()` in the source becomes a module that is
 * evaluated when it is first asked for, so `agent_start` leaves before the model SDK, zod and the MongoDB driver run.
 * `node <outfile> --warm-up` evaluates all of them and exits 0: run it (twice) with NODE_COMPILE_CACHE set and the flags of
 * production to bake a compile cache that holds them too.
 */

/** Optional peers of the MongoDB driver: it looks for them in a try block and does without. */
const OPTIONAL_PEERS = [
  '@aws-sdk/credential-providers',
  '@mongodb-js/zstd',
  'gcp-metadata',
  'kerberos',
  'mongodb-client-encryption',
  'snappy',
  'socks',
]

const outfile = argv[2]
if (outfile === undefined) {
  stderr.write('usage: node infra/bundle-runner.ts <outfile>\n')
  exit(64)
}

const result = await build({
  entryPoints: [`${import.meta.dirname}/../src/main/runner.ts`],
  outfile,
  bundle: true,
  minify: true,
  platform: 'node',
  target: 'node26',
  format: 'cjs',
  // Every import() becomes a lazy require, also those of Node's own modules: what infra/image/entry.cjs compiles has no
  // module loader.
  supported: { 'dynamic-import': false },
  external: OPTIONAL_PEERS,
  legalComments: 'eof',
  metafile: true,
  logLevel: 'warning',
})

const [size = 0] = Object.values(result.metafile.outputs).map((output) => output.bytes)
stdout.write(`${outfile}: ${Math.round(size / 1024)} KiB\n`)
