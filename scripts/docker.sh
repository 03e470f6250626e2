#!/bin/sh
# Sees to it that a Docker daemon answers. As root on Debian it installs Debian's docker.io and starts it, and says so.
# Exit 1 with the reason when there is none and none may be installed; callers that can do without go on.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh
pid_file=.cache/dockerd.pid
log=.cache/dockerd.log

answers() { command -v docker >/dev/null 2>&1 && docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
answers && exit 0

no_docker() { printf '[mgx] no Docker: %s\n' "$*" >&2; exit 1; }

[ -z "${DOCKER_HOST:-}" ] || no_docker "nothing answers at DOCKER_HOST=$DOCKER_HOST. Start that daemon, or unset DOCKER_HOST."
may_install || no_docker "no daemon answers, and $(why_not_install). Install Docker Engine (on Debian: 'apt-get install docker.io iptables'), start it, and let this user talk to it."

if ! command -v dockerd >/dev/null 2>&1 || ! command -v iptables >/dev/null 2>&1; then
  install_debian 'no Docker daemon on this machine' docker.io iptables
  answers && { say 'Docker is installed and runs'; exit 0; }
fi

mkdir -p .cache
if [ -d /run/systemd/system ]; then
  say "starting Docker (systemctl start docker; stop it with 'systemctl stop docker')"
  systemctl start docker || no_docker "'systemctl start docker' failed; see 'journalctl -u docker'."
else
  setsid dockerd >"$log" 2>&1 </dev/null &
  echo $! >"$pid_file"
  say "started dockerd by hand (no systemd here): log in $log, stop it with 'kill \$(cat $pid_file)'"
fi

# given_up: the daemon that was started by hand has ended.
given_up() { [ ! -d /run/systemd/system ] && ! kill -0 "$(cat "$pid_file")" 2>/dev/null; }
tries=0
until answers; do
  tries=$((tries + 1))
  if [ "$tries" -ge 60 ] || given_up; then
    [ -f "$log" ] && tail -n 3 "$log" >&2
    no_docker "the daemon does not start; what it said last is above."
  fi
  sleep 0.5
done
say "Docker $(docker version --format '{{.Server.Version}}') answers"
