#!/bin/sh
# Writes into .env what docker-compose.yml needs and nobody wants to think up: passwords and this machine's numbers.
# What is there already stays as it is.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh
file=.env

[ -f "$file" ] || { umask 077; : >"$file"; say "made $file: passwords of MongoDB and Redis, this machine's user and Docker group"; }

# It holds passwords from here on, whoever made it.
chmod go-rwx "$file"

random() { head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# add <name> <value>: unless the file has a line for it.
add() {
  grep -q "^$1=" "$file" && return
  [ -z "$(tail -c 1 "$file")" ] || echo >>"$file"
  echo "$1=$2" >>"$file"
}

for name in MONGO_REPLICA_KEY MONGO_ROOT_PASSWORD MONGO_SERVICES_PASSWORD MONGO_AGENTS_PASSWORD REDIS_PASSWORD; do
  add "$name" "$(random)"
done

# Services and agents run as one user, so that both may write to the workspaces: whoever runs this, but never root.
if [ "$(id -u)" = 0 ]; then add MGX_USER 1000:1000; else add MGX_USER "$(id -u):$(id -g)"; fi

socket=${DOCKER_SOCKET:-/var/run/docker.sock}
# Docker Desktop's socket belongs to root's group inside its machine.
if [ "$(uname)" = Linux ] && [ -S "$socket" ]; then add DOCKER_GID "$(stat -c %g "$socket")"; else add DOCKER_GID 0; fi
