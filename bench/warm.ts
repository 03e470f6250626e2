/**
 * Which variables make a stack keep warm containers; `undefined` while mgx has no warm pool. The only place that knows.
 */
export const WARM_POOL: ((size: number) => Readonly<Record<string, string>>) | undefined = undefined as
  | ((size: number) => Readonly<Record<string, string>>)
  | undefined
