import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { apiConfig, workerConfig } from '#main/config.ts'
import { linesOf, onlyLine, ROOT, SERVICES, worker } from './config-helpers.ts'

describe('bad values', () => {
  const bad: readonly (readonly [string, string])[] = [
    ['PORT', '80a'],
    ['PORT', '65536'],
    ['PORT', '-1'],
    ['HOST', 'not a host'],
    ['INSECURE_NO_AUTH', 'maybe'],
    ['CORS_ORIGINS', 'https://app.example.com/path'],
    ['CORS_ORIGINS', 'app.example.com'],
    ['QUEUE_TIMEOUT_SECONDS', '0'],
    ['QUEUE_TIMEOUT_SECONDS', '1.5'],
    ['MAX_QUEUED_RUNS', '0'],
    ['MAX_QUEUED_RUNS_PER_TENANT', 'x'],
    ['MONGODB_DB', 'a/b'],
    ['LOG_LEVEL', 'loud'],
    ['API_DOCS', '2'],
    ['MODEL_PRICES', 'gpt-4.1=2'],
    ['MODEL_PRICES', 'gpt-4.1=2/eight'],
  ]
  for (const [name, value] of bad) {
    test(`the API refuses ${name}=${value} and says the rule`, () => {
      assert.match(
        onlyLine(() => apiConfig({ ...SERVICES, [name]: value })),
        new RegExp(`^${name}=.*: must be `),
      )
    })
  }

  const badForWorkers: readonly (readonly [string, string])[] = [
    ['AGENT_CONTAINER_MEMORY_LIMIT', '2gb'],
    ['AGENT_CONTAINER_MEMORY_LIMIT', '1m'],
    ['AGENT_CONTAINER_CPU_QUOTA', '0'],
    ['AGENT_CONTAINER_PIDS_LIMIT', '-1'],
    ['AGENT_TMP_SIZE', 'much'],
    ['AGENT_WORKSPACE_QUOTA_KIND', 'firm'],
    ['AGENT_TASK_TIMEOUT_SECONDS', '90000'],
    ['AGENT_MAX_STEPS', '0'],
    ['AGENT_CHANNEL', 'tunnel'],
    ['AGENT_USER', '0:0'],
    ['AGENT_USER', 'node'],
    ['AGENT_NETWORK', 'my net'],
    ['AGENT_CONTAINER_IMAGE', '-rm'],
    ['AGENT_CANARY_IMAGE', '-rm'],
    ['AGENT_CANARY_WEIGHT', '101'],
    ['HOST_WORKSPACES_ROOT', 'workspaces'],
    ['KUBERNETES_NAMESPACE', 'Agents'],
    ['KUBERNETES_WORKSPACE_CLAIM', 'my_claim'],
    ['KUBERNETES_CPU_REQUEST_PERCENT', '0'],
    ['KUBERNETES_PENDING_SECONDS', '5'],
    ['ENGINE', 'podman'],
    ['DOCKER_HOST', '/var/run/docker.sock'],
    ['MGX_INSTALLATION', 'a b'],
    ['WORKER_CONCURRENCY', '0'],
    ['MAX_RUNNING_RUNS', '0'],
    ['MAX_RUNNING_RUNS_PER_TENANT', 'all'],
    ['WORKER_MEMORY', '8gb'],
    ['WORKER_MEMORY_OVERCOMMIT', '0'],
    ['RECONCILE_DRY_RUN', 'x'],
    ['OPENAI_BASE_URL', 'api.openai.com'],
    ['GATEWAY_TCP_PORT', '0'],
  ]
  for (const [name, value] of badForWorkers) {
    test(`a worker refuses ${name}=${value} and says the rule`, () => {
      assert.match(
        onlyLine(() => worker({ [name]: value })),
        new RegExp(`^${name}=.*: must be `),
      )
    })
  }

  test('one line for each, all at once', () => {
    const lines = linesOf(() => apiConfig({ ...SERVICES, PORT: 'x', LOG_LEVEL: 'y', API_DOCS: 'z' }))
    assert.deepEqual(
      lines.map((line) => line.split('=')[0]),
      ['PORT', 'API_DOCS', 'LOG_LEVEL'],
    )
  })

  test('what is missing is named, each in its line', () => {
    const lines = linesOf(() => workerConfig({}, ROOT))
    assert.deepEqual(
      lines.map((line) => line.split(':')[0]),
      ['MONGODB_URL', 'REDIS_URL', 'OPENAI_API_KEY'],
    )
  })

  test('secrets are never shown', () => {
    const line = onlyLine(() => apiConfig({ ...SERVICES, MONGODB_URL: 'postgres://mgx:geheim@db' }))
    assert.match(line, /^MONGODB_URL: must be a mongodb:/)
    assert.doesNotMatch(line, /geheim/)
  })
})
