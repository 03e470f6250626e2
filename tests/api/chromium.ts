import { createServer } from 'node:http'
import type { TestContext } from 'node:test'
import { type Browser, chromium } from 'playwright-core'
import { inPath } from '../services/machine.ts'

const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** A headless Chromium of this machine, closed after the test; or why there is none. */
export const openChromium = async (t: Pick<TestContext, 'after'>): Promise<{ browser: Browser } | { why: string }> => {
  const executablePath = inPath('chromium')
  if (executablePath === undefined) return { why: 'no chromium in PATH: apt-get install chromium' }
  const browser = await chromium.launch({ executablePath, headless: true, args: ARGS })
  t.after(() => browser.close())
  return { browser }
}

/** An origin of its own with one page that runs this script. */
export const servePage = async (t: Pick<TestContext, 'after'>, script: () => string): Promise<string> => {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html; charset=utf-8')
    response.end(`<!doctype html><title>client</title><script type="module">${script()}</script>`)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return `http://127.0.0.1:${address.port}`
}
