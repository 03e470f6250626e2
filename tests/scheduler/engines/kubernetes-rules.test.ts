import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { KUBERNETES_RULES } from '#scheduler/engines/kubernetes-rules.ts'
import { ROOT } from '../../runner/imports.ts'

type Rules = Readonly<Record<string, readonly string[]>>

const collected = (pairs: readonly (readonly [string, string])[]): Rules => {
  const rules: Record<string, string[]> = {}
  for (const [resource, verb] of pairs) {
    rules[resource] = [...new Set([...(rules[resource] ?? []), verb])]
  }
  return sorted(rules)
}

const sorted = (rules: Rules): Rules =>
  Object.fromEntries(Object.entries(rules).map(([resource, verbs]) => [resource, verbs.toSorted()]))

/** Every call as it stands in the engine's source; web sockets ask for both verbs, one by version of the cluster. */
const calls = (): Rules => {
  const source = globSync('src/scheduler/engines/kubernetes*.ts', { cwd: ROOT })
    .map((file) => readFileSync(join(ROOT, file), 'utf8'))
    .join('\n')
  const plain = [...source.matchAll(/resource: '([a-z/]+)',\s*verb: '([a-z]+)'/g)]
  const sockets = [...source.matchAll(/\bapi\.(attach|exec)\(/g)].flatMap(([, kind = '']) =>
    ['create', 'get'].map((verb) => [`pods/${kind}`, verb] as const),
  )
  return collected([...plain.map(([, resource = '', verb = '']) => [resource, verb] as const), ...sockets])
}

test('the rights that the engine asks for are the calls it makes: none is missing, none too many', () => {
  assert.deepEqual(calls(), sorted(KUBERNETES_RULES))
})
