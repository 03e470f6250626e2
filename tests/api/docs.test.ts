import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sleep } from '../helpers.ts'
import { openChromium } from './chromium.ts'
import { startApi } from './harness.ts'

test('/docs shows the routes in a browser, and asks nobody but the API for anything', async (t) => {
  const opened = await openChromium(t)
  if ('why' in opened) return t.skip(opened.why)
  const api = await startApi(t, { docs: true })
  const url = await api.url()
  const page = await opened.browser.newPage()
  const elsewhere: string[] = []
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) elsewhere.push(request.url())
  })
  await page.goto(`${url}/docs`)
  await page.getByText('Hand a prompt to an agent').first().waitFor()
  // Time for a font, a counter or an assistant to be asked for.
  await sleep(1_000)
  assert.deepEqual(elsewhere, [])
})
