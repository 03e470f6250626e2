import { join } from 'node:path'
import { ROOT, reachable } from './imports.ts'

export type Needs = {
  readonly mongodb: boolean
  readonly redis: boolean
  readonly docker: boolean
  readonly image: boolean
  readonly kubernetes: boolean
}

/** Which services the tests use, seen from what they import. */
export const needsOf = (files: readonly string[]): Needs => {
  const used = reachable(files)
  const uses = (name: string) => used.has(join(ROOT, 'tests/services', `${name}.ts`))
  return {
    mongodb: uses('mongodb'),
    redis: uses('redis'),
    docker: uses('docker') || uses('image'),
    image: uses('image'),
    kubernetes: uses('kubernetes'),
  }
}

/** Whether a file's tests stand on a real server, daemon or container, and so on how busy this machine is. */
export const usesRealParts = (file: string): boolean => Object.values(needsOf([file])).some(Boolean)
