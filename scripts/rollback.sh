#!/bin/sh
# Ends the trial of AGENT_CANARY_IMAGE: writes AGENT_CANARY_WEIGHT=0 into .env and has the worker read it. Runs at work are handed
# to the new worker and keep their containers; whoever starts from now on gets AGENT_CONTAINER_IMAGE.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

was=$(setting AGENT_CANARY_WEIGHT 0)
if [ -f .env ] && grep -q '^AGENT_CANARY_WEIGHT=' .env; then
  rest=$(grep -v '^AGENT_CANARY_WEIGHT=' .env || true)
  printf '%s\n' "$rest" 'AGENT_CANARY_WEIGHT=0' | cat >.env
fi
export AGENT_CANARY_WEIGHT=0
sh scripts/compose.sh up --detach --no-deps --no-build worker
say "AGENT_CANARY_WEIGHT is 0 (was $was): new runs get the stable image"
