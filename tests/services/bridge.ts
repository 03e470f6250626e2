import type Docker from 'dockerode'

/** Docker's own default, where nothing else was configured. */
const DEFAULT_SUBNET = '172.17.0.0/16'

/**
 * This machine's address on Docker's default bridge: what containers reach, and what a test may listen on. Asked of the daemon,
 * because Node lists no interface that is down, and docker0 is down while no container is on it. A daemon that has not run a
 * container there since its start names the subnet only; the gateway is then its first address.
 */
export const bridgeAddress = async (docker: Docker): Promise<string> => {
  const { IPAM } = (await docker.getNetwork('bridge').inspect()) as Docker.NetworkInspectInfo
  const [config] = IPAM?.Config ?? []
  return config?.Gateway ?? (config?.Subnet ?? DEFAULT_SUBNET).replace(/\d+\/\d+$/, '1')
}
