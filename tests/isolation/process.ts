import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createProcessEngine } from '#scheduler/engines/process.ts'
import type { Row } from './table.ts'

/** The process engine isolates nothing. What can be asked of it is that it says so, and refuses where that matters. */
export const probeProcess = async (): Promise<Row[]> => {
  const said: string[] = []
  const stateDir = join(tmpdir(), `mgx-isolation-${randomUUID()}`)
  const log = { warn: (...words: unknown[]) => void said.push(words.join(' ')) }
  const open = (production: boolean) => createProcessEngine({ stateDir, command: [process.execPath], production, log })
  try {
    await open(false).check()
    const refusal = await open(true)
      .check()
      .then(
        () => 'it starts',
        () => 'refused',
      )
    const warned = said.some((line) => line.includes('ISOLATES NOTHING'))
    return [
      { what: 'it says that it isolates nothing', asked: 'yes', enforced: warned ? 'yes' : 'no', ok: warned },
      { what: 'with NODE_ENV=production', asked: 'refused', enforced: refusal, ok: refusal === 'refused' },
    ]
  } finally {
    await rm(stateDir, { recursive: true, force: true })
  }
}
