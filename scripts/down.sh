#!/bin/sh
# Stops what `make up` started. Data, workspaces and passwords stay.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

# The worker first: it would start anew what is stopped here. Agents left on their own could not store their events.
sh scripts/compose.sh stop worker
agents=$(docker ps --quiet --filter "label=dev.mgx.installation=$(setting COMPOSE_PROJECT_NAME mgx)")
if [ -n "$agents" ]; then
  say "stopping agents at work: $(echo "$agents" | wc -l); after the next 'make up' their runs end with the cause"
  # shellcheck disable=SC2086
  docker stop --time 10 $agents >/dev/null
fi
sh scripts/compose.sh down --remove-orphans
