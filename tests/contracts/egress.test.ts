import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  allows,
  EGRESS_MAX_ENTRIES,
  type EgressPolicy,
  type EgressText,
  effectiveEgress,
  formatEgress,
  parseEgress,
  parseTarget,
} from '#contracts/egress.ts'
import { EGRESS_SETS } from '#contracts/egress-sets.ts'

const policy = (given: string | readonly string[]): EgressPolicy => {
  const parsed = parseEgress(given)
  if ('wrong' in parsed) throw new Error(parsed.wrong)
  return parsed.policy
}

const text = (given: string | readonly string[]): EgressText => formatEgress(policy(given))

const wrong = (given: string | readonly string[]): string => {
  const parsed = parseEgress(given)
  return 'wrong' in parsed ? parsed.wrong : `accepted as ${JSON.stringify(formatEgress(parsed.policy))}`
}

const lets = (given: EgressPolicy, authority: string): boolean => {
  const target = parseTarget(authority)
  return target !== undefined && allows(given, target)
}

test('a policy is none, all, or hosts, wildcards, addresses, ports and named sets', () => {
  const cases: readonly [string | readonly string[], EgressText][] = [
    ['all', 'all'],
    [' None ', 'none'],
    [['none'], 'none'],
    [['all'], 'all'],
    ['Registry.NPMJS.org', ['registry.npmjs.org']],
    ['a.example.com.,b.example.com', ['a.example.com', 'b.example.com']],
    ['*.example.com:8443', ['*.example.com:8443']],
    ['nexus:8081', ['nexus:8081']],
    ['bücher.de', ['xn--bcher-kva.de']],
    ['203.0.113.7, 203.0.113.7:22', ['203.0.113.7', '203.0.113.7:22']],
    ['2001:DB8:0::1', ['[2001:db8::1]']],
    ['[2001:db8::1]:8443', ['[2001:db8::1]:8443']],
    ['::ffff:10.0.0.1', ['10.0.0.1']],
    ['registries', [...EGRESS_SETS.registries]],
    [
      ['github', 'github.com'],
      ['github.com', 'api.github.com', 'codeload.github.com', '*.githubusercontent.com'],
    ],
    ['all, example.com, example.com:8443', ['all', 'example.com:8443']],
    ['*.example.com, a.example.com, b.a.example.com:443', ['*.example.com']],
  ]
  for (const [given, expected] of cases) assert.deepEqual(text(given), expected, String(given))
})

test('nonsense is refused with what is wrong and what to write', () => {
  const cases: readonly [string | readonly string[], RegExp][] = [
    ['', /empty list: write none, all/],
    [[], /empty list/],
    [[''], /"" is not a host/],
    ['none,example.com', /"none" stands alone/],
    ['https://example.com', /URL, a path or a range: write only the host/],
    ['10.0.0.0/8', /URL, a path or a range/],
    ['example.com:', /no port behind its colon.*1 to 65535/],
    ['example.com:65536', /no port/],
    ['example.com:https', /no port/],
    ['*', /wildcard elsewhere.*or all/],
    ['a.*.example.com', /wildcard elsewhere/],
    ['*example.com', /wildcard elsewhere/],
    [
      'registry',
      /no named set \(there are: registries, github\); a host whose name has no dot is written with its port/,
    ],
    ['registries:8080', /named set, which takes no port/],
    ['127.1', /not a host/],
    ['0x7f.0.0.1', /not a host/],
    ['1.2.3.256', /not a host/],
    ['*.1.2.3.4', /not a host/],
    ['user@example.com', /not a host/],
    ['exa mple.com', /not a host/],
    ['-a.example.com', /not a host/],
    ['a..example.com', /not a host/],
    [`${'a'.repeat(64)}.com`, /not a host/],
    ['[fe80::1%eth0]', /not a host/],
    ['[1.2.3.4]', /not a host/],
    [
      Array.from({ length: EGRESS_MAX_ENTRIES + 1 }, (_, i) => `h${i}.example.com`),
      /101 entries: a list has at most 100/,
    ],
  ]
  for (const [given, expected] of cases) assert.match(wrong(given), expected, JSON.stringify(given))
})

test('what a proxy is asked for is read as resolvers read it', () => {
  const cases: readonly [string, string | undefined][] = [
    ['Example.COM:443', 'example.com'],
    ['example.com.:443', 'example.com'],
    ['2130706433:80', '127.0.0.1'],
    ['0x7f.1:80', '127.0.0.1'],
    ['017700000001:80', '127.0.0.1'],
    ['[::FFFF:7f00:1]:80', '127.0.0.1'],
    ['[2001:db8:0:0::1]:80', '2001:db8::1'],
    ['example.com', undefined],
    ['example.com:0', undefined],
    ['example.com:443/x', undefined],
    ['a@example.com:443', undefined],
    ['exa%6dple.com:443', undefined],
    ['[::1%lo]:443', undefined],
    [':443', undefined],
    ['1.2.3.4.5:80', undefined],
  ]
  for (const [authority, host] of cases) assert.equal(parseTarget(authority)?.host, host, authority)
})

test('rules let through what they name and nothing beside it', () => {
  const given = policy('example.com, *.wild.org, port.net:8443, 203.0.113.7')
  const yes = [
    'example.com:80',
    'example.com:443',
    'a.wild.org:443',
    'a.b.wild.org:80',
    'port.net:8443',
    '203.0.113.7:443',
  ]
  const no = ['example.com:22', 'a.example.com:443', 'notexample.com:443', 'wild.org:443', 'evilwild.org:443']
  const not = [...no, 'port.net:443', '203.0.113.8:443', 'a.wild.org:8080', 'example.com.evil.net:443']
  for (const one of yes) assert.ok(lets(given, one), one)
  for (const one of not) assert.ok(!lets(given, one), one)
  assert.ok(lets(policy('all'), '8.8.8.8:443') && !lets(policy('all'), '8.8.8.8:53'))
  assert.ok(!lets(policy('none'), 'example.com:443'))
})

test('a run narrows the installation and never widens it', () => {
  const narrowed = (installation: string, ...more: (string | undefined)[]): EgressText =>
    formatEgress(
      effectiveEgress(policy(installation), ...more.map((one) => one && policy(one)).filter((one) => one !== '')),
    )
  assert.equal(narrowed('all'), 'all')
  assert.equal(narrowed('all', undefined), 'all')
  assert.deepEqual(narrowed('all', 'example.com, x.com:8443'), ['example.com'], 'all has two ports')
  assert.deepEqual(narrowed('registries', 'all'), [...EGRESS_SETS.registries])
  assert.deepEqual(narrowed('registries', 'pypi.org, example.com'), ['pypi.org'])
  assert.deepEqual(narrowed('*.example.com', 'a.example.com:443, *.b.example.com'), [
    'a.example.com:443',
    '*.b.example.com',
  ])
  assert.deepEqual(narrowed('a.com:443', 'a.com'), ['a.com:443'])
  assert.equal(narrowed('a.com:443', 'a.com:80'), 'none')
  assert.equal(narrowed('none', 'all'), 'none')
  assert.equal(narrowed('all', 'none'), 'none')
  assert.deepEqual(
    narrowed('all', 'github', '*.github.com'),
    ['api.github.com', 'codeload.github.com'],
    'a level between',
  )
})

const host = fc.constantFrom('a.com', 'b.a.com', 'c.b.a.com', 'x.org', 'ya.com', '1.2.3.4', '[2001:db8::1]')
const port = fc.constantFrom('', ':80', ':443', ':8443')
const entry = fc.oneof(
  fc.constantFrom('all', 'registries'),
  fc.tuple(host, port).map(([name, at]) => name + at),
  fc.tuple(fc.constantFrom('*.a.com', '*.b.a.com', '*.org'), port).map(([name, at]) => name + at),
)
const list = fc.array(entry, { minLength: 1, maxLength: 5 })
const authority = fc.tuple(host, fc.constantFrom(':80', ':443', ':8443', ':22')).map(([name, at]) => name + at)

test('for any two policies: the narrowed one lets through what both do', () => {
  fc.assert(
    fc.property(list, list, authority, (a, b, target) => {
      const [left, right] = [policy(a), policy(b)]
      assert.equal(lets(effectiveEgress(left, right), target), lets(left, target) && lets(right, target))
    }),
    { numRuns: 2_000 },
  )
})

test('for any policy: written out and read again it is the same', () => {
  fc.assert(
    fc.property(list, (entries) => {
      const once = text(entries)
      assert.deepEqual(text(typeof once === 'string' ? once : [...once]), once)
    }),
  )
})

test('whatever text comes, the parser answers, and what it accepts names no other host', () => {
  const pieces = fc.constantFrom(
    '*',
    '.',
    ':',
    '[',
    ']',
    'a',
    'com',
    '1',
    '443',
    '/',
    '@',
    ' ',
    ',',
    '::',
    'é',
    '-',
    'all',
    '%',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(pieces).map((parts) => parts.join('')),
      ),
      (given) => {
        const parsed = parseEgress(given)
        if ('wrong' in parsed) assert.ok(parsed.wrong.length > 0)
        else assert.deepEqual(policy(formatEgress(parsed.policy)), parsed.policy)
        parseTarget(given)
      },
    ),
    { numRuns: 3_000 },
  )
})
