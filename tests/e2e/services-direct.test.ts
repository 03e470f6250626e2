import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { MongoClient } from 'mongodb'
import { channelSuite } from './channel-suite.ts'
import { secretsSuite } from './secrets-suite.ts'
import { openStack } from './stack.ts'

const stack = await openStack({ channel: 'direct' })

describe('direct: agents write to MongoDB themselves', { skip: 'skip' in stack ? stack.skip : false }, () => {
  if ('skip' in stack) return
  after(() => stack[Symbol.asyncDispose]())
  channelSuite(stack)
  secretsSuite(stack)

  test('with a user that may find and insert events, and nothing else', async () => {
    await using client = new MongoClient(stack.agentsUrl ?? '')
    const db = client.db(stack.db.databaseName)
    const event = await db.collection('events').findOne({ event_type: 'agent_start' })
    assert.ok(event)
    const refused = { codeName: 'Unauthorized' }
    const { _id } = event
    for (const forbidden of [
      () => db.collection('events').updateOne({ _id }, { $set: { seq: 0 } }),
      () => db.collection('events').deleteOne({ _id }),
      () => db.collection('events').drop(),
      () => db.collection('runs').findOne(),
      () => db.collection('sessions').insertOne({ session_id: 'mine' }),
      () => db.collection('anything').insertOne({}),
      () => client.db('other').collection('events').findOne(),
    ]) {
      await assert.rejects(forbidden, refused, String(forbidden))
    }
  })
})
