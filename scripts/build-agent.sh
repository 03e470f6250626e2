#!/bin/sh
# Builds the image of mgx (AGENT_CONTAINER_IMAGE, default mgx:latest) on the public Node image, or, where that cannot be
# pulled, on mgx-base:local. BASE_IMAGE chooses the base; "if-missing" builds only when there is no such image yet.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh
image=${AGENT_CONTAINER_IMAGE:-mgx:latest}
public=$(sed -n 's/^ARG BASE_IMAGE=//p' infra/Dockerfile.mgx)

exists() { docker image inspect "$1" >/dev/null 2>&1; }

# What goes into the image decides whether it is built again.
source_hash() {
  { echo "${BASE_IMAGE:-}"; cat .dockerignore infra/Dockerfile.mgx package.json package-lock.json .npmrc
    find src infra/image infra/bundle-runner.ts -type f | LC_ALL=C sort | while read -r file; do echo "$file"; cat "$file"; done
  } | cksum | tr ' ' -
}

if [ "${1:-}" = if-missing ] && exists "$image"; then exit 0; fi
sh scripts/docker.sh || exit 1

hash=$(source_hash)
if exists "$image" && [ "$(docker image inspect --format '{{index .Config.Labels "dev.mgx.source"}}' "$image")" = "$hash" ]; then
  say "$image is up to date"
  exit 0
fi

base=${BASE_IMAGE:-$public}
if ! exists "$base"; then
  say "base image: pulling $base"
  if ! timeout 20 docker pull -q "$base" >/dev/null 2>&1 && ! exists "$base"; then
    [ -z "${BASE_IMAGE:-}" ] || fail "the base image $base is not here and cannot be pulled. Unset BASE_IMAGE, or 'make base-image' and BASE_IMAGE=mgx-base:local."
    say "$base cannot be pulled here (20 s): using mgx-base:local, made from Debian and npm packages"
    sh scripts/base-image.sh
    base=mgx-base:local
  fi
fi

say "building $image on $base (a few minutes the first time)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
docker build -f infra/Dockerfile.mgx --build-arg "BASE_IMAGE=$base" --build-arg "SOURCE=$hash" -t "$image" . >"$log" 2>&1 ||
  { tail -n 25 "$log" >&2; fail 'docker build failed; its last lines are above.'; }
say "$image is ready: $(docker image inspect --format '{{.Size}}' "$image" | awk '{ printf "%d MB", $1 / 1e6 }')"
