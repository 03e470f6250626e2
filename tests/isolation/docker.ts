import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError } from '#main/read-env.ts'
import { rowsOf } from './checks.ts'
import type { Row } from './table.ts'
import { ASKED, openProbedServer, type ProbedServer, probeAgent, type Ran } from './world.ts'

/** A fork bomb as everybody knows it; three seconds later the group of the command is killed, as at a tool's time-out. */
const BOMB = `bash timeout -s KILL 3 bash -c ':(){ :|:& };:' 2>bomb.log; sleep 1; echo survived >after-bomb`

/** Each file system in memory to its end: pages that no process owns, so that the kernel ends the largest one, the runner. */
const FLOOD = 'bash for d in /tmp $HOME /dev/shm; do head -c 100000000 /dev/zero >$d/flood; done; sleep 60'

const bombRow = async (server: ProbedServer): Promise<Row> => {
  const { result } = await server.run('bomb', `${BOMB}\nbash echo next >next`)
  const next = await readFile(join(server.root, 'bomb-files/next'), 'utf8').catch(() => '')
  const outcome = next === '' ? `contained, and the run ended as ${result.cause}` : 'contained, and the run went on'
  const refused = await readFile(join(server.root, 'bomb-files/bomb.log'), 'utf8').catch(() => '')
  const held = refused.includes('Resource temporarily unavailable') || result.cause !== 'completed'
  return { what: 'fork bomb', asked: 'contained, run goes on or ends typed', enforced: outcome, ok: held }
}

const floodRow = async (server: ProbedServer): Promise<Row> => {
  const { result } = await server.run('flood', FLOOD)
  return { what: 'all memory taken', asked: 'oom_killed', enforced: result.cause, ok: result.cause === 'oom_killed' }
}

/** A hundred megabytes, into a workspace of 64. */
const HOARD = 'bash head -c 100000000 /dev/zero >hoard; sleep 60'

const hoardRow = async (server: ProbedServer): Promise<Row> => {
  const { result } = await server.run('hoard', HOARD)
  return {
    what: 'workspace beyond its quota',
    asked: 'disk_full',
    enforced: result.cause,
    ok: result.cause === 'disk_full',
  }
}

/** The same where the file system refuses it: on disk there is never more. Others than root cannot have that, and are told so. */
export const probeHardQuota = async (stack: AsyncDisposableStack, image: string): Promise<Row[]> => {
  const what = 'workspace beyond its hard quota'
  try {
    const server = await openProbedServer(stack, image, { AGENT_WORKSPACE_QUOTA_KIND: 'hard' })
    const { result } = await server.run('hoard', HOARD)
    const { blocks } = await stat(join(server.root, '.mgx/disks/hoard-files.img'))
    const megabytes = Math.ceil((blocks * 512) / 1024 ** 2)
    const ok = result.cause === 'disk_full' && megabytes <= 64
    return [{ what, asked: 'disk_full, 64 MB on disk', enforced: `${result.cause}, ${megabytes} MB`, ok }]
  } catch (error) {
    if (!(error instanceof ConfigError) || process.getuid?.() === 0) throw error
    return [{ what, asked: 'root, or refused', enforced: 'not tried without root: refused', ok: true }]
  }
}

const attestedRow = ({ attestation }: Ran): Row => {
  const gaps = attestation?.checks.flatMap(({ name, ok }) => (ok ? [] : [name])) ?? []
  const enforced =
    attestation === undefined ? 'no attestation' : gaps.join(', ') || `${attestation.checks.length} checks hold`
  return { what: 'attestation', asked: 'every check holds', enforced, ok: attestation?.ok === true }
}

/** Everything that is asked of an agent's container on Docker, tried from inside. */
export const probeDocker = async (server: ProbedServer): Promise<Row[]> => {
  const { found, ran } = await probeAgent(server)
  return [
    ...rowsOf(found, ASKED),
    await bombRow(server),
    await floodRow(server),
    await hoardRow(server),
    attestedRow(ran),
  ]
}
