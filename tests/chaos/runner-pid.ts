import type Docker from 'dockerode'

/** The process that works in the container, by its number on this machine: not the first one, which only waits for it. */
export const runnerPid = async (container: Docker.Container): Promise<number | undefined> => {
  const list: { Titles: string[]; Processes: string[][] } = await container.top()
  const { Titles, Processes } = list
  const [pid, ppid] = [Titles.indexOf('PID'), Titles.indexOf('PPID')]
  const [first] = Processes.filter((row) => !Processes.some((other) => other[pid] === row[ppid]))
  const runner = Processes.find((row) => row[ppid] === first?.[pid])
  return runner?.[pid] === undefined ? undefined : Number(runner[pid])
}
