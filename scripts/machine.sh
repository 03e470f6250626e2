# Sourced by the other scripts: how they speak, and what they may install on this machine.

say() { printf '[mgx] %s\n' "$*"; }
fail() { printf '[mgx] error: %s\n' "$*" >&2; exit 1; }

# The system is only touched as root on Debian (or a relative with apt-get), and never with SETUP=none.
may_install() { [ "${SETUP:-}" != none ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

why_not_install() {
  if [ "${SETUP:-}" = none ]; then echo 'SETUP=none: nothing is installed on this machine'
  elif ! command -v apt-get >/dev/null 2>&1; then echo 'only Debian packages (apt-get) are installed automatically'
  else echo 'installing Debian packages needs root'; fi
}

# install_debian <what for> <package>...
install_debian() {
  what=$1; shift
  say "$what: installing Debian packages: $*"
  apt_log=$(mktemp)
  if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; } >"$apt_log" 2>&1; then
    tail -n 15 "$apt_log" >&2; rm -f "$apt_log"
    fail "apt-get could not install: $*. Its last lines are above; repair that and run the same command again."
  fi
  rm -f "$apt_log"
}

# setting <name> [default]: from the environment, else from .env, as Compose reads them.
setting() {
  eval "value=\${$1:-}"
  [ -n "$value" ] || [ ! -f .env ] || value=$(sed -n "s/^$1=//p" .env | tail -n 1 | sed "s/^\([\"']\)\(.*\)\1\$/\2/")
  echo "${value:-${2:-}}"
}
