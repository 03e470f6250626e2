import { DatabaseSync } from 'node:sqlite'
import { StartError } from './start-error.ts'

/**
 * Takes a file for this process alone, until it is disposed or the process ends, however it ends: SQLite's lock belongs to
 * the operating system. Throws `StartError` when another process has it.
 */
export const takeAlone = (file: string, what: string): Disposable => {
  const db = new DatabaseSync(file, { timeout: 0 })
  try {
    db.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    db.close()
    throw new StartError(
      `another mgx is using ${what}`,
      'Stop that one, or set WORKSPACES_ROOT to another directory.',
      {
        cause: error,
      },
    )
  }
  return { [Symbol.dispose]: () => db.close() }
}
