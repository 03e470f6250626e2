import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { openDocker } from '../services/docker.ts'
import { testImage } from '../services/image.ts'
import { containerName, docker, HARDENED } from './image.ts'

const found = await openDocker()
const skip = 'skip' in found ? found.skip : false

type ImageConfig = {
  readonly User: string
  readonly Env: readonly string[]
  readonly Entrypoint: readonly string[]
  readonly Cmd: readonly string[]
  readonly Labels: Readonly<Record<string, string>>
}

const inspect = async (image: string): Promise<{ Size: number; Config: ImageConfig }> => {
  const { stdout } = await docker(['image', 'inspect', image])
  const [one] = JSON.parse(stdout)
  return one
}

/** A shell in the image as the agent has it: read-only, without rights, any uid, /tmp as its only place to write. */
const shell = async (user: string, script: string) =>
  docker(
    ['run', '--rm', '-i', '--user', user, '--env', 'HOME=/tmp', ...HARDENED]
      .concat('--entrypoint', 'bash', await testImage())
      .concat('-euo', 'pipefail', '-s'),
    { input: script },
  )

describe('the image', { skip }, () => {
  test('is small, of a user that is not root, and carries no variable that could be a secret', async () => {
    const { Size, Config } = await inspect(await testImage())
    assert.ok(Size <= 600e6, `${Math.round(Size / 1e6)} MB, expected at most 600`)
    assert.equal(Config.User, '1000:1000')
    assert.deepEqual(Config.Env.map((line) => line.split('=')[0]).sort(), [
      'HOME',
      'LANG',
      'NODE_USE_SYSTEM_CA',
      'PATH',
    ])
    assert.deepEqual(Config.Entrypoint.slice(0, 2), ['/opt/runner/tini', '--'])
    assert.ok(Config.Entrypoint.includes('--disable-sigusr1'))
    assert.deepEqual(Config.Cmd, ['agent'])
    assert.match(Config.Labels['dev.mgx.source'] ?? '', /^\d+-\d+$/)
  })

  test('starts the agent by default, which asks for a job', async () => {
    const { code, stderr } = await docker(['run', '--rm', '-i', ...HARDENED, await testImage()])
    assert.match(stderr, /^mgx agent: no job[^\n]*\n$/, 'one line, and no warning of Node')
    assert.equal(code, 66)
  })

  for (const service of ['api', 'worker']) {
    test(`starts the ${service} by one argument, which says what it misses`, async () => {
      const { code, stderr } = await docker(['run', '--rm', ...HARDENED, await testImage(), service])
      assert.match(stderr, new RegExp(`mgx ${service}: MONGODB_URL: `))
      assert.equal(code, 78)
    })
  }

  test('refuses an entry point that it does not have, and lists those it has', async () => {
    const { code, stderr } = await docker(['run', '--rm', await testImage(), 'oauth9'])
    assert.match(stderr, /no entry point "oauth9".*agent.*api.*worker/)
    assert.equal(code, 64)
  })

  for (const user of ['1000:1000', '4242:4343', '0:0']) {
    test(`has a code cache that Node accepts, for user ${user}`, async () => {
      const { stdout } = await docker(['run', '--rm', '--user', user, ...HARDENED, await testImage(), 'code-cache'])
      assert.match(stdout, /^code cache accepted, \d{6,} bytes\n$/)
    })
  }

  for (const user of ['1000:1000', '4242:4343']) {
    test(`has the tools of the agent's shell, for user ${user}`, async () => {
      const { code, stdout, stderr } = await shell(
        user,
        `mkdir /tmp/w && cd /tmp/w
        git init -q . && echo needle >hay.txt && git add . && git -c user.name=a -c user.email=a@b commit -qm first
        rg --files-with-matches needle .
        curl --version | head -c 4; echo
        python3 -c 'import json, venv; print("python")'
        npm --version >/dev/null && node -p '"node " + (process.versions.node.split(".")[0] >= 26)'
        ps -o pid= 1 >/dev/null && echo ps`,
      )
      assert.equal(stdout, './hay.txt\ncurl\npython\nnode true\nps\n', stderr)
      assert.equal(code, 0)
    })
  }

  test('git works in a workspace of another owner', async () => {
    const script = 'git -C /srv/repo status --short && echo clean'
    const image = await testImage()
    const { stdout, stderr } = await docker(
      ['run', '--rm', '-i', '--user', '0:0', '--entrypoint', 'bash', image, '-euc'].concat(
        `git init -q /srv/repo && setpriv --reuid 4242 --regid 4242 --clear-groups bash -c '${script}'`,
      ),
    )
    assert.equal(stdout, 'clean\n', stderr)
  })

  test('gives nobody a way to become another user or to change a program, also where the root is not read-only', async () => {
    const { stdout } = await docker(
      ['run', '--rm', '-i', '--entrypoint', 'bash', await testImage()].concat(
        '-c',
        `stat -c '%a %u:%g %n' /opt/runner/tini /opt/runner/node
        find / -xdev -type f -perm /6000 2>/dev/null
        find /opt /usr /etc -xdev -writable -not -type l 2>/dev/null
        cat /opt/runner/node >/dev/null 2>&1 || echo unreadable`,
      ),
    )
    assert.equal(stdout, '711 0:0 /opt/runner/tini\n711 0:0 /opt/runner/node\nunreadable\n')
  })

  test('its services find their compile cache', async () => {
    const debug = ['--env', 'NODE_DEBUG_NATIVE=COMPILE_CACHE']
    const { stderr } = await docker(['run', '--rm', ...debug, ...HARDENED, await testImage(), 'api'])
    assert.match(stderr, /serve-api\.ts.* was accepted/)
  })

  test('serves no development package: no compiler, bundler or browser driver', async () => {
    const { stdout } = await shell('1000:1000', 'ls /opt/mgx/app /opt/mgx/app/node_modules')
    const names = stdout.split('\n')
    assert.ok(names.includes('fastify'))
    for (const name of ['typescript', 'esbuild', '@biomejs', 'playwright-core', 'tests', 'bench', '.env', '.git']) {
      assert.ok(!names.includes(name), name)
    }
  })

  test('ends at once on SIGTERM, whatever the entry point', async (t) => {
    const name = containerName(t)
    await docker(['run', '--detach', '--interactive', '--name', name, await testImage()])
    const { code } = await docker(['stop', '--time', '60', name])
    assert.equal(code, 0)
    const { stdout } = await docker(['inspect', '--format', '{{.State.ExitCode}}', name])
    assert.equal(stdout.trim(), '143')
  })
})
