import { access, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { FILLER, type Step } from '../conformance/shell-runner.ts'
import type { RunnerSide, ScriptedRunner } from './scripted-box.ts'

const TERMINATED = 143
const CHUNK = 64 * 1024

const fill = (self: RunnerSide, bytes: number): void => {
  const text = FILLER.repeat(Math.ceil(bytes / FILLER.length)).slice(0, bytes)
  for (let at = 0; at < bytes; at += CHUNK) self.print(text.slice(at, at + CHUNK))
}

const awaitFile = async (self: RunnerSide, path: string): Promise<void> => {
  while (!self.killed.aborted) {
    const there = await access(path).then(
      () => true,
      () => false,
    )
    if (there) return
    await sleep(10)
  }
}

/** @returns an exit code when the step ends the runner */
const play = async (self: RunnerSide, step: Exclude<Step, { do: 'onTerm' }>): Promise<number | undefined> => {
  const inWorkspace = (file: string): string => join(self.spec.workspace.path, file)
  switch (step.do) {
    case 'print':
    case 'printError':
      self.print(`${step.text}\n`)
      return undefined
    case 'fill':
      fill(self, step.bytes)
      return undefined
    case 'write':
      await writeFile(inWorkspace(step.file), step.text)
      return undefined
    case 'awaitFile':
      await awaitFile(self, inWorkspace(step.file))
      return undefined
    case 'hang':
      await new Promise((resolve) => self.killed.addEventListener('abort', resolve))
      return undefined
    case 'measure':
      self.print(`${step.text.length}\n`)
      return undefined
    case 'awaitEndOfInput':
      self.print('end of input\n')
      return undefined
    case 'exit':
      return step.code
  }
}

/** The steps of the engine suite, for the scripted engine: its job line is one line of JSON. */
export const playSteps: ScriptedRunner = async (self) => {
  const steps = JSON.parse(self.jobLine.split('\n')[0] ?? '') as Step[]
  let onTerm: number | 'ignore' = TERMINATED
  const terminated = new Promise<number>((resolve) => {
    self.term.addEventListener('abort', () => onTerm !== 'ignore' && resolve(onTerm))
  })
  const played = (async () => {
    for (const step of steps) {
      if (step.do === 'onTerm') onTerm = step.code
      else {
        const code = await play(self, step)
        if (code !== undefined) return code
      }
    }
    return 0
  })()
  return Promise.race([terminated, played])
}
