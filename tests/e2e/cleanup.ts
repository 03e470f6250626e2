import type { TestContext } from 'node:test'
import Dockerode from 'dockerode'
import { LABELS } from '#contracts/labels.ts'

/** Closed after the test, last opened first: hooks of a test run in the order in which they were registered. */
export const testStack = (t: Pick<TestContext, 'after'>): AsyncDisposableStack => {
  const stack = new AsyncDisposableStack()
  t.after(() => stack.disposeAsync())
  return stack
}

/** Removes what a failed test left: every container of this installation. Nothing where no Docker answers. */
export const removeContainers = async (installation: string): Promise<void> => {
  const docker = new Dockerode()
  const filters = { label: [`${LABELS.installation}=${installation}`] }
  const left = await docker.listContainers({ all: true, filters }).catch(() => [])
  await Promise.all(
    left.map(({ Id }) =>
      docker
        .getContainer(Id)
        .remove({ force: true })
        .catch(() => undefined),
    ),
  )
}
