/** Why a process cannot start, and what whoever starts it can do; shown without a stack. */
export class StartError extends Error {
  readonly remedy: string
  constructor(message: string, remedy: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StartError'
    this.remedy = remedy
  }
}
