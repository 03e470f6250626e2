/**
 * What is used of @kubernetes/client-node, so that `npm run check` passes where the package is not installed yet. To be
 * deleted once it is: its own declarations then take over.
 */
declare module '@kubernetes/client-node' {
  import type { RequestOptions } from 'node:https'
  import type { Readable, Writable } from 'node:stream'

  export class KubeConfig {
    loadFromDefault(): void
    loadFromFile(file: string): void
    loadFromString(text: string): void
    setCurrentContext(context: string): void
    getCurrentContext(): string
    getCurrentCluster(): { readonly name: string; readonly server: string; readonly proxyUrl?: string } | null
    applyToHTTPSOptions(options: RequestOptions): Promise<void>
  }

  type Socket = {
    readonly readyState: number
    onclose: ((event: unknown) => void) | null
    onerror: ((event: unknown) => void) | null
    terminate(): void
  }

  export class Attach {
    constructor(config: KubeConfig)
    attach(
      namespace: string,
      pod: string,
      container: string,
      stdout: Writable | null,
      stderr: Writable | null,
      stdin: Readable | null,
      tty: boolean,
    ): Promise<Socket>
  }

  export class Exec {
    constructor(config: KubeConfig)
    exec(
      namespace: string,
      pod: string,
      container: string,
      command: string[],
      stdout: Writable | null,
      stderr: Writable | null,
      stdin: Readable | null,
      tty: boolean,
    ): Promise<Socket>
  }
}
