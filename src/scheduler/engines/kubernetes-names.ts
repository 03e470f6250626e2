import { createHash } from 'node:crypto'

/** Kubernetes' words for what an id may be (RFC 1123 label; label value), 63 characters each. */
const DNS_LABEL = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/
const LABEL_VALUE = /^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$/
const LONGEST = 63

/** Behind what was changed: 64 bits of the exact text. Text that ends so by itself is changed too, so that no two meet. */
const MARK = /-x[0-9a-f]{16}$/

const marked = (text: string, rest: string, longest: number): string => {
  const mark = `-x${createHash('sha256').update(text).digest('hex').slice(0, 16)}`
  const head = rest.slice(0, longest - mark.length).replace(/[^A-Za-z0-9]+$/, '')
  return `${head}${mark}`
}

/**
 * The name of a pod: the sandbox's own where Kubernetes allows it, else the part of it that is allowed and a hash of
 * the whole. Different sandboxes have different names.
 */
export const podName = (name: string): string =>
  name.length <= LONGEST && DNS_LABEL.test(name) && !MARK.test(name)
    ? name
    : marked(name, name.toLowerCase().replace(/[^a-z0-9]+/g, '-'), LONGEST)

/** An id as the value of a label, likewise. What it stands for is in the annotation of the same key. */
export const labelValue = (text: string): string =>
  text.length <= LONGEST && LABEL_VALUE.test(text) && !MARK.test(text) ? text : marked(text, text, LONGEST)
