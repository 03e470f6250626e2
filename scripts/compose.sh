#!/bin/sh
# Compose v2 with the arguments given: the plugin if there is one, else docker-compose in PATH.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh
sh scripts/env.sh
# docker-compose.yml names the workspaces by it, and not every caller exports it.
export PWD

if docker compose version >/dev/null 2>&1; then exec docker compose "$@"; fi
case $(docker-compose version --short 2>/dev/null) in
  [2-9]* | v[2-9]*) exec docker-compose "$@" ;;
esac
fail "Docker Compose v2 is missing (Debian 12's docker-compose is v1, which does not do). Install docker-compose-plugin from Docker's packages, or put the docker-compose of https://github.com/docker/compose/releases in PATH."
