import assert from 'node:assert/strict'
import { createReadStream } from 'node:fs'
import type { RequestListener } from 'node:http'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import type { SessionEvent } from '#contracts/events.ts'
import { openHttpTarget } from '../services/http-target.ts'
import { selfSigned } from '../services/self-signed.ts'
import { LIMIT } from './channel-suite.ts'
import { generate, postGenerate } from './generate.ts'
import { kept, logOf } from './kept.ts'
import { openStack } from './stack.ts'

/** Set once there is a stack: what agents put into `public` of their workspace is what this server offers. */
let files: (session: string, path: string) => string | undefined = () => undefined

const serveFiles: RequestListener = (request, response) => {
  const [, session = '', path = ''] = /^\/([\w.-]+)\/([\w./@-]*?)\/?(?:\?.*)?$/.exec(request.url ?? '') ?? []
  const file = path.includes('..') ? undefined : files(session, path)
  if (file === undefined) return void response.writeHead(404).end('hello\n')
  const isPage = path.startsWith('simple/')
  if (isPage) response.setHeader('content-type', 'text/html')
  const stream = createReadStream(isPage ? `${file}/index.html` : file)
  stream.on('error', () => response.writeHead(404).end())
  stream.once('open', () => stream.pipe(response))
}

const atEnd = { after: (close: unknown) => after(close as () => void) }
const internet = await openHttpTarget(atEnd, { answer: serveFiles })
const url = `http://${internet.authority}`
/** npm's agent compares the certificate of a bare address behind a proxy with the name localhost. */
const authority = selfSigned(internet.host, 'localhost')
const secure = await openHttpTarget(atEnd, { answer: serveFiles, tls: authority })

const stack = await openStack({
  env: { AGENT_EGRESS: `all, ${internet.authority}, ${secure.authority}`, EGRESS_ALLOW_PRIVATE: internet.host },
})

const outputs = (events: readonly SessionEvent[]): string[] =>
  events.flatMap((event) => (event.event_type === 'tool_end' ? [event.data.output] : []))

describe('egress of containers', { skip: 'skip' in stack ? stack.skip : false }, () => {
  if ('skip' in stack) return
  after(() => stack[Symbol.asyncDispose]())
  files = (session, path) => join(stack.root, session, 'public', path)

  /** Runs these lines of a script, and answers with what each tool call came to, the log, and the run as the API shows it. */
  const play = async (name: string, lines: (base: string) => readonly string[], options: object = {}) => {
    const session_id = stack.sessionId(name)
    const prompt = `${lines(`${url}/${session_id}`).join('\n')}\nDone`
    const run = await generate(stack.urls[0], { session_id, prompt, options })
    assert.equal((await kept(stack, run, 110_000)).data.cause, 'completed')
    const log = await logOf(stack, run)
    const view = await fetch(`${stack.urls[0]}/api/agent/sessions/${session_id}/runs`)
    const { runs } = (await view.json()) as { runs: { egress: unknown }[] }
    const refused = log.flatMap((event) => (event.event_type === 'egress_refused' ? [event.data] : []))
    return { said: outputs(log), refused, egress: runs[0]?.egress }
  }

  test('curl, Node, Python, npm, git and pip reach what is allowed', LIMIT, async () => {
    const { said, refused, egress } = await play('tools', (base) => {
      const versions = { '1.0.0': { name: 'demo', version: '1.0.0', dist: { tarball: `${base}/demo-1.0.0.tgz` } } }
      const commit = 'git -c user.name=a -c user.email=a@b commit -q --allow-empty -m one'
      const wheel = [
        "import zipfile as z; w = z.ZipFile('public/demo-1.0-py3-none-any.whl', 'w')",
        "w.writestr('demo.py', 'x = 1')",
        "w.writestr('demo-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n')",
        "w.writestr('demo-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')",
        "w.writestr('demo-1.0.dist-info/RECORD', '')",
        'w.close()',
      ].join('; ')
      return [
        'write public/hello hello from outside',
        `write public/demo ${JSON.stringify({ name: 'demo', 'dist-tags': { latest: '1.0.0' }, versions })}`,
        `write public/simple/demo/index.html <a href="${base}/demo-1.0-py3-none-any.whl">demo-1.0-py3-none-any.whl</a>`,
        `bash curl -sS ${base}/hello; echo; curl -sSp ${base}/hello`,
        `bash node -e 'fetch("${base}/hello").then((r) => r.text()).then(console.log)'`,
        `bash python3 -c 'import urllib.request as u; print(u.urlopen("${base}/hello").read().decode())'`,
        'bash mkdir p && cd p && echo \'{"name":"demo","version":"1.0.0"}\' >package.json && npm pack --silent --pack-destination ../public',
        `bash mkdir /workspace/app && cd /workspace/app && npm install --silent --registry ${base} demo && ls node_modules`,
        `bash cd /workspace && git init -q src && (cd src && ${commit}) && git clone -q --bare src public/repo.git && git -C public/repo.git update-server-info`,
        `bash git clone -q ${base}/repo.git /tmp/copy && git -C /tmp/copy log --format=%s`,
        `bash python3 -c "${wheel}" && python3 -m venv /tmp/v && /tmp/v/bin/pip install -q --disable-pip-version-check --index-url ${base}/simple --trusted-host ${internet.host} demo && /tmp/v/bin/python -c 'import demo; print(demo.x)'`,
      ]
    })
    const [curl, node, python, pack, npm, , git, pip] = said.slice(3)
    assert.match(curl ?? '', /^hello from outside\nhello from outside\n?\(exit code 0/)
    assert.match(node ?? '', /^hello from outside\n/)
    assert.match(python ?? '', /^hello from outside\n/)
    assert.match(pack ?? '', /^demo-1\.0\.0\.tgz\n/)
    assert.match(npm ?? '', /^demo\n/)
    assert.match(git ?? '', /^one\n/)
    assert.match(pip ?? '', /^1\n\(exit code 0/)
    assert.deepEqual(refused, [])
    assert.deepEqual(egress, { allow: ['all', internet.authority, secure.authority], enforced: true })
  })

  test(
    'TLS goes through unopened: curl, Node, Python, npm and git see the certificate of the server',
    LIMIT,
    async () => {
      const { said } = await play('tls', (base) => {
        const tls = base.replace(url, `https://${secure.authority}`)
        const trust =
          'NODE_EXTRA_CA_CERTS=/workspace/ca.pem SSL_CERT_FILE=/workspace/ca.pem GIT_SSL_CAINFO=/workspace/ca.pem'
        const ca = Buffer.from(authority.cert).toString('base64')
        return [
          'write public/hello hello by TLS',
          `write public/demo ${JSON.stringify({ name: 'demo', 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': { name: 'demo', version: '1.0.0' } } })}`,
          `bash echo ${ca} | base64 -d >ca.pem; git init -q public/repo.git --bare && git -C public/repo.git update-server-info`,
          `bash curl -sS --cacert ca.pem ${tls}/hello; curl -sS ${tls}/hello 2>&1 | head -1`,
          `bash ${trust} node -e 'fetch("${tls}/hello").then((r) => r.text()).then(console.log)'`,
          `bash ${trust} python3 -c 'import urllib.request as u; print(u.urlopen("${tls}/hello").read().decode())'`,
          `bash ${trust} npm view --fetch-retries 0 --registry ${tls} demo name`,
          `bash ${trust} git ls-remote ${tls}/repo.git && echo listed`,
        ]
      })
      const [curl, node, python, npm, git] = said.slice(3)
      assert.match(
        curl ?? '',
        /^hello by TLS\n?curl: \(60\) SSL certificate problem/,
        'the server proves who it is, to the end',
      )
      assert.match(node ?? '', /^hello by TLS\n/)
      assert.match(python ?? '', /^hello by TLS\n/)
      assert.match(npm ?? '', /demo/)
      assert.match(git ?? '', /listed\n\(exit code 0/)
    },
  )

  test('what is closed is refused in words and in the log, and there is no way around', LIMIT, async () => {
    const sockets = ['8.8.8.8/53', '169.254.169.254/80', '172.17.0.1/80', `${internet.authority.replace(':', '/')}`]
    const { said, refused } = await play('closed', () => [
      'bash curl -sS http://169.254.169.254/latest/meta-data/',
      'bash curl -sS http://127.0.0.1.nip.io:22/ ; curl -sS http://10.0.0.1/ ; curl -sS http://172.17.0.1/',
      `bash ${sockets.map((to) => `(exec 3<>/dev/tcp/${to}) 2>&1 | tail -1`).join('; ')}`,
      `bash curl -sS --noproxy '*' -m 5 ${url}/; getent hosts example.com || echo no name; ls /sys/class/net`,
    ])
    assert.match(said[0] ?? '', /^mgx egress: 169\.254\.169\.254:80 is the metadata service of a cloud/)
    assert.match(
      said[1] ?? '',
      /nip\.io:22 has a port.*\n.*10\.0\.0\.1:80 has no public.*\n.*172\.17\.0\.1:80 has no public/,
    )
    assert.match(
      said[1] ?? '',
      /\(exit code 0; .*mgx egress: 10\.0\.0\.1:80 has no public address.*\)$/,
      'the model reads why',
    )
    assert.equal(
      said[2]?.match(/Network is unreachable|Invalid argument|Connection refused/g)?.length,
      sockets.length,
      said[2] ?? '',
    )
    assert.match(said[3] ?? '', /^curl: \(7\)[^\n]*\nno name\nlo\n\(/)
    assert.deepEqual(
      refused.map(({ host, port, reason, count }) => [`${host}:${port}`, reason, count]),
      [
        ['169.254.169.254:80', 'metadata_address', 1],
        ['127.0.0.1.nip.io:22', 'port_not_allowed', 1],
        ['10.0.0.1:80', 'private_address', 1],
        ['172.17.0.1:80', 'private_address', 1],
      ],
    )
  })

  test('a run narrows its own way out, and a policy that is none is a 400 that says why', LIMIT, async () => {
    const ask = [`bash curl -sS -o /dev/null -w '%{http_code}' ${url}/x/y`]
    const none = await play('narrow-none', () => ask, { egress: 'none' })
    assert.match(none.said[0] ?? '', /^403/)
    assert.deepEqual(none.egress, { allow: 'none', enforced: true })
    const one = await play('narrow-list', () => ask, { egress: [internet.authority, 'registries'] })
    assert.match(one.said[0] ?? '', /^404/)
    const body = { session_id: stack.sessionId('bad'), prompt: 'x', options: { egress: ['https://example.com'] } }
    const answer = await postGenerate(stack.urls[0], body)
    const { code, message } = (await answer.json()) as { code: string; message: string }
    assert.deepEqual([answer.status, code], [400, 'INVALID_REQUEST'])
    assert.match(message, /body\/options\/egress: not an egress policy: "https:\/\/example\.com" is a URL/)
  })
})
