import { KERNEL_FILES, type KernelFile, type KernelTexts } from './kernel-files.ts'

/** A command in a container that prints the kernel's files, each behind its path; those that are not there it passes over. */
export const PRINT_KERNEL_FILES: readonly string[] = ['head', '-v', '-c', '65536', ...Object.values(KERNEL_FILES)]

const NAMES = Object.keys(KERNEL_FILES) as KernelFile[]

/** What that command has printed, by file. Pure. */
export const printedTexts = (output: string): KernelTexts => {
  const byPath = new Map(NAMES.map((name) => [KERNEL_FILES[name] as string, name]))
  const texts: Partial<Record<KernelFile, string>> = {}
  for (const part of output.split(/^==> /m).slice(1)) {
    const [, path = '', text = ''] = /^(\S+) <==\n(.*)$/s.exec(part) ?? []
    const name = byPath.get(path)
    if (name !== undefined) texts[name] = text
  }
  return texts
}
