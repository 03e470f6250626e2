/** What only docker-compose.yml and `make up` read: name → what it is for, and the default. No process of mgx sees these. */
export const COMPOSE: Readonly<Record<string, { readonly says: string; readonly otherwise: string }>> = {
  COMPOSE_PROJECT_NAME: {
    says: 'Name of the stack, its volumes and its installation; another one for a second stack on the machine.',
    otherwise: 'mgx',
  },
  MGX_PORT: { says: "Port of the API on this machine's loopback.", otherwise: '8000' },
  MGX_IMAGE: { says: 'Image of the API and the worker.', otherwise: 'mgx:latest' },
  MGX_USER: {
    says: 'Who API, worker and agents run as, and who owns the workspaces.',
    otherwise: 'who runs make up; 1000:1000 for root',
  },
  MONGO_IMAGE: { says: 'Image of MongoDB.', otherwise: 'the one docker-compose.yml names' },
  MONGO_MEMORY_LIMIT: { says: 'Memory of MongoDB.', otherwise: '1g' },
  REDIS_IMAGE: { says: 'Image of Redis.', otherwise: 'the one docker-compose.yml names' },
  REDIS_MEMORY_LIMIT: { says: 'Memory of Redis.', otherwise: '256m' },
  DOCKER_SOCKET: { says: 'Socket of the Docker daemon, given to the worker.', otherwise: '/var/run/docker.sock' },
  DOCKER_GID: { says: 'Group of that socket.', otherwise: 'found by make up' },
  MONGO_ROOT_PASSWORD: { says: "MongoDB's administrator.", otherwise: 'made by make up' },
  MONGO_SERVICES_PASSWORD: { says: 'MongoDB user of API and worker.', otherwise: 'made by make up' },
  MONGO_AGENTS_PASSWORD: { says: 'MongoDB user of the agents (direct channel).', otherwise: 'made by make up' },
  MONGO_REPLICA_KEY: { says: "Key of MongoDB's replica set.", otherwise: 'made by make up' },
  REDIS_PASSWORD: { says: 'Password of Redis.', otherwise: 'made by make up' },
}
