#!/bin/sh
# ci-kubernetes.sh up|down: the one-node cluster of ../shared/kubernetes for the tests of a CI machine, as root on Debian.
# `up` prints what the tests need, NAME=value, a line each; exit 1 with the reason, last line, when there can be none here.
# `down` leaves no process, mount or interface, and may be called at any time. One cluster fits on a machine: its addresses are fixed.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh
cluster=../shared/kubernetes
# Where its root is. That is a short path of its own, as sockets are in it.
note=.cache/kubernetes-root

no_cluster() { printf '[mgx] no cluster: %s\n' "$*" >&2; exit 1; }

down() {
  [ -f "$note" ] || return 0
  root=$(cat "$note")
  [ ! -e "$root/var/holder" ] || KT_ROOT=$root "$root/kt.sh" down
  rm -rf "$root" "$note"
}

# debian_packages: those whose programs this machine lacks.
debian_packages() {
  while read -r program package; do
    command -v "$program" >/dev/null 2>&1 || echo "$package"
  done <<-'LIST' | sort -u
	containerd docker.io
	runc docker.io
	ctr docker.io
	zstd zstd
	openssl openssl
	python3 python3
	go golang-go
	curl curl
	ip iproute2
	pgrep procps
	sysctl procps
	nsenter util-linux
	LIST
}

# kt.sh names Debian's packages of the network plugins and of busybox to apt-get, which must know them.
refresh_lists() {
  apt-cache show containernetworking-plugins busybox-static >/dev/null 2>&1 || apt-get update -qq >&2
}

up() {
  [ -x "$cluster/setup.sh" ] || no_cluster "$cluster is not there. Set KUBECONFIG to use another one."
  [ "$(uname -m)" = x86_64 ] || no_cluster "$cluster is for x86-64"
  may_install || no_cluster "it needs root on Debian, and $(why_not_install)"
  ! ip link show kt0 >/dev/null 2>&1 || no_cluster 'another one runs on this machine (interface kt0). Set KUBECONFIG to use it.'
  missing=$(debian_packages)
  # shellcheck disable=SC2086
  [ -z "$missing" ] || install_debian 'a cluster for the tests' $missing >&2
  refresh_lists
  mkdir -p .cache
  root=$(mktemp -d /tmp/mgx-kube-XXXXXX)
  chmod 755 "$root"
  echo "$root" >"$note"
  "$cluster/setup.sh" "$root" >&2 || { down; no_cluster "$cluster/setup.sh failed; what it said is above"; }
  if ! KT_ROOT=$root "$root/kt.sh" up >&2; then
    tail -n 5 "$root"/var/log/*.log >&2 || true
    down
    no_cluster 'it does not come up; what its parts said last is above'
  fi
  echo "KUBECONFIG=$root/pki/admin.kubeconfig"
  echo "KUBECTL=env KT_ROOT=$root $root/kt.sh kubectl"
  echo "MGX_TEST_KUBERNETES_LOAD=env KT_ROOT=$root $root/kt.sh load"
  # The kubelet is found by its whole command line, and comes back by itself once the file is gone.
  echo "MGX_TEST_NODE_DOWN=touch $root/var/kubelet-off && kill -9 \$(pgrep -f '^$root/bin/hyperkube kubelet ')"
  echo "MGX_TEST_NODE_UP=rm -f $root/var/kubelet-off"
}

case ${1:-} in
  up) up ;;
  down) down ;;
  *) fail 'usage: ci-kubernetes.sh up|down' ;;
esac
