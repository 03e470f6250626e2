#!/bin/sh
# What the tests take for granted on a developer's machine: curl, which the README's examples are written for, and a
# browser. As root on Debian they are installed, and it says so. MongoDB, Redis and Docker are found by the tests themselves.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

missing=
for tool in curl chromium; do command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"; done
[ -n "$missing" ] || exit 0
if may_install; then
  # shellcheck disable=SC2086
  install_debian 'tests use' $missing
else
  say "tests use$missing, and $(why_not_install). Without, some of them are skipped or fail."
fi
