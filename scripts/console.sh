#!/bin/sh
# A shell of MongoDB or Redis in the services of `make up`: console.sh mongo|redis [arguments]
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh
kind=$1; shift

running() { [ -n "$(sh scripts/compose.sh ps --quiet --status running "$1")" ] || fail "$1 does not run here; 'make up' starts it."; }

case $kind in
  mongo)
    running mongodb
    sh scripts/compose.sh exec -T mongodb sh -c 'command -v mongosh' >/dev/null ||
      fail "the image of the service mongodb has no mongosh. The public one (MONGO_IMAGE=mongo:8.0) has."
    exec sh scripts/compose.sh exec mongodb mongosh "mongodb://mgx:$(setting MONGO_SERVICES_PASSWORD)@localhost/$(setting MONGODB_DB mgx)?authSource=admin" "$@"
    ;;
  redis)
    running redis
    exec sh scripts/compose.sh exec redis redis-cli "$@"
    ;;
  *) fail 'usage: console.sh mongo|redis' ;;
esac
