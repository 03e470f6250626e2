import assert from 'node:assert/strict'
import { BlockList } from 'node:net'
import { test } from 'node:test'
import { closedAddress, closedName, parseRanges } from '#scheduler/egress-addresses.ts'

const NOTHING = new BlockList()

const ranges = (...texts: string[]): BlockList => {
  const parsed = parseRanges(texts)
  if (parsed instanceof BlockList) return parsed
  throw new Error(parsed.wrong)
}

test('public addresses are open', () => {
  for (const address of [
    ...['8.8.8.8', '1.1.1.1', '172.32.0.1', '100.128.0.1', '192.0.3.1', '223.255.255.255'],
    ...['2606:4700::1111', '2a00:1450::1', '::ffff:8.8.8.8', '64:ff9b::808:808', '2002:808:808::1'],
  ])
    assert.equal(closedAddress(address, NOTHING), undefined, address)
})

test('what is not public is closed, in every form', () => {
  for (const address of [
    ...['0.0.0.0', '10.0.0.1', '10.255.255.255', '100.64.0.1', '127.0.0.1', '127.8.8.8', '169.254.1.1', '172.16.0.1'],
    ...['172.31.255.255', '192.0.0.1', '192.0.2.1', '192.168.1.1', '198.18.0.1', '198.51.100.1', '203.0.113.1'],
    ...['224.0.0.1', '239.255.255.250', '240.0.0.1', '255.255.255.255'],
    ...['::', '::1', '::7f00:1', 'fc00::1', 'fd12::1', 'fe80::1', 'fe80::1%eth0', 'fec0::1', 'ff02::1', '100::1'],
    ...['2001::1', '2001:0:4136:e378:8000:63bf:3fff:fdd2', '2001:db8::1', '3fff::1', '5f00::1', '64:ff9b:1::1'],
    // An IPv4 address in IPv6 clothes: mapped, translated, NAT64, 6to4
    ...['::ffff:10.0.0.1', '::ffff:0:10.0.0.1', '64:ff9b::10.0.0.1', '2002:a00:1::1', '64:ff9b::7f00:1'],
    ...['no address', ''],
  ])
    assert.equal(closedAddress(address, NOTHING), 'private_address', address)
})

test('the metadata services of clouds are closed under any address and name, and stay so', () => {
  const everything = ranges('0.0.0.0/0', '::/0')
  for (const address of [
    ...['169.254.169.254', '169.254.170.2', '100.100.100.200', '168.63.129.16', '192.0.0.192'],
    ...['fd00:ec2::254', 'fd20:ce::254', '::ffff:169.254.169.254', '64:ff9b::a9fe:a9fe', '2002:a9fe:a9fe::1'],
  ])
    assert.equal(closedAddress(address, everything), 'metadata_address', address)
  assert.equal(closedName('metadata.google.internal'), 'metadata_address')
  assert.equal(closedName('example.com'), undefined)
})

test('an operator opens ranges, and only those', () => {
  const opened = ranges('10.20.0.0/16', '127.0.0.2', 'fd12::/16')
  for (const address of ['10.20.3.4', '::ffff:10.20.3.4', '64:ff9b::10.20.3.4', '127.0.0.2', 'fd12::1'])
    assert.equal(closedAddress(address, opened), undefined, address)
  for (const address of ['10.21.0.1', '127.0.0.1', 'fd13::1', '2002:a15:1::1'])
    assert.equal(closedAddress(address, opened), 'private_address', address)
})

test('a range that is none is named', () => {
  for (const wrong of ['10/8', '10.0.0.0/33', '::/129', '10.0.0.0/', '10.0.0.0/a', 'example.com', 'fe80::1%eth0', ''])
    assert.deepEqual(parseRanges(['10.0.0.0/8', wrong]), { wrong }, wrong)
})
