/** True for a failed system call with one of these codes: `ENOENT`, `EXDEV`, … */
export const isCode = (error: unknown, ...codes: string[]): boolean =>
  error instanceof Error && 'code' in error && codes.includes(String(error.code))
