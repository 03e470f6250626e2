import { writeFile } from 'node:fs/promises'
import { configurationPage, envExample } from '#main/config-docs.ts'

/** Writes the pages that are made from code: `node scripts/write-docs.ts`. */

const root = new URL('../', import.meta.url)
await writeFile(new URL('docs/configuration.md', root), configurationPage())
await writeFile(new URL('.env.example', root), envExample())
