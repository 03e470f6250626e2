import type { Listen } from './config.ts'
import { StartError } from './start-error.ts'

/** Why nothing listens there, and which variables to change; an error of another kind comes back as it is. */
export const listenError = (
  error: unknown,
  { host, port }: Listen,
  variables: { readonly host: string; readonly port: string },
): unknown => {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') {
    return new StartError(
      `port ${port} of ${host} is in use`,
      `Stop what listens there, or set ${variables.port} to another one.`,
    )
  }
  if (code === 'EACCES')
    return new StartError(`port ${port} needs more rights`, `Set ${variables.port} to one above 1023.`)
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    return new StartError(`${host} is no address of this machine`, `Correct ${variables.host}.`)
  }
  return error
}
