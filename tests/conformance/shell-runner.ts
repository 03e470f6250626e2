import { RUNNER_READY, WARM_ARGUMENT } from '#contracts/job.ts'

/** What a runner of the engine tests does, one after the other; it ends with 0 when nothing else ends it. */
export type Step =
  | { readonly do: 'print' | 'printError'; readonly text: string }
  /** So many bytes of `FILLER`. */
  | { readonly do: 'fill'; readonly bytes: number }
  | { readonly do: 'write'; readonly file: string; readonly text: string }
  | { readonly do: 'awaitFile'; readonly file: string }
  /** What TERM does from now on: end with a code, or nothing. */
  | { readonly do: 'onTerm'; readonly code: number | 'ignore' }
  | { readonly do: 'hang' }
  /** Prints how long the text is: it came with the job line. */
  | { readonly do: 'measure'; readonly text: string }
  /** Prints `end of input` when standard input ends. */
  | { readonly do: 'awaitEndOfInput' }
  | { readonly do: 'exit'; readonly code: number }

/** One line of what `fill` prints. */
export const FILLER = '0123456789abcdef\n'

/** A runner for engines that run real programs: one line on standard input, which is shell. */
export const SHELL_RUNNER = `#!/bin/sh
case "$*" in *${WARM_ARGUMENT}*) echo '${RUNNER_READY}' ;; esac
IFS= read -r line || exit 66
cd "\${WORKSPACE_DIR:-/workspace}" || exit 78
eval "$line"
`

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

const statement = (step: Step): string => {
  switch (step.do) {
    case 'print':
      return `printf '%s\\n' ${quoted(step.text)}`
    case 'printError':
      return `printf '%s\\n' ${quoted(step.text)} >&2`
    case 'fill':
      return `yes ${quoted(FILLER.trimEnd())} | head -c ${step.bytes}`
    case 'write':
      return `printf '%s' ${quoted(step.text)} > ${quoted(step.file)}`
    case 'awaitFile':
      return `while [ ! -e ${quoted(step.file)} ]; do sleep 0.02; done`
    case 'onTerm':
      return `trap ${step.code === 'ignore' ? "''" : `'exit ${step.code}'`} TERM`
    case 'hang':
      return 'sleep 600 & wait $!'
    case 'measure':
      return `printf '%s' ${quoted(step.text)} | wc -c`
    case 'awaitEndOfInput':
      return "cat; echo 'end of input'"
    case 'exit':
      return `exit ${step.code}`
  }
}

/** The steps as a job line for `SHELL_RUNNER`. */
export const toShell = (steps: readonly Step[]): string => `${steps.map(statement).join('; ')}\n`
