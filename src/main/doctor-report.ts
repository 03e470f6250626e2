import { withoutCredentials } from './logger.ts'
import { reasonOf } from './until-there.ts'

/** What one check came to. A failure says what to do about it. */
export type Finding = {
  readonly check: string
  readonly verdict: 'ok' | 'warning' | 'failure'
  readonly says: string
  readonly remedy?: string
}

export const ok = (check: string, says: string): Finding => ({ check, verdict: 'ok', says })

export const warning = (check: string, says: string, remedy: string): Finding => ({
  check,
  verdict: 'warning',
  says,
  remedy,
})

export const failure = (check: string, says: string, remedy: string): Finding => ({
  check,
  verdict: 'failure',
  says,
  remedy,
})

/** A check that may break: what it throws is its failure. */
export type Check = { readonly name: string; readonly remedy: string; run(): Promise<readonly Finding[]> }

export const runCheck = async ({ name, remedy, run }: Check): Promise<readonly Finding[]> => {
  try {
    return await run()
  } catch (error) {
    return [failure(name, reasonOf(error), remedy)]
  }
}

const SIGNS: Readonly<Record<Finding['verdict'], string>> = { ok: '✔', warning: '!', failure: '✖' }

/** One line, and the remedy under it where there is something to do. */
export const lineOf = ({ check, verdict, says, remedy }: Finding): string => {
  const line = withoutCredentials(`${SIGNS[verdict]} ${check}: ${says}`)
  return remedy === undefined ? line : `${line}\n    ${remedy}`
}

const count = (findings: readonly Finding[], verdict: Finding['verdict']): number =>
  findings.filter((finding) => finding.verdict === verdict).length

export const summaryOf = (findings: readonly Finding[]): string => {
  const failures = count(findings, 'failure')
  const warnings = count(findings, 'warning')
  const what = failures > 0 ? 'This host is not ready' : 'This host is ready'
  return `${what}: ${count(findings, 'ok')} good, ${warnings} to look at, ${failures} to mend.`
}
