#!/usr/bin/env bash
# need.sh COMMAND=PACKAGE ...: installs with apt the packages whose commands (or, with a slash, files) are missing;
# fails loudly if it cannot, so that no test is ever skipped for want of a tool.
set -euo pipefail

have() { case $1 in */*) compgen -G "$1" >/dev/null ;; *) command -v "$1" >/dev/null ;; esac; }

missing=()
for need in "$@"; do
  have "${need%%=*}" || missing+=("${need#*=}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

fail() {
  echo "need.sh: $1" >&2
  echo "need.sh: the tests need these Debian packages; install them and try again: ${missing[*]}" >&2
  exit 1
}

command -v apt-get >/dev/null || fail "this is no Debian: there is no apt-get"
root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || fail "not root, and no sudo"
  root=(sudo)
fi

# The tests start their own nginx and memcached; the packages must not start theirs (invoke-rc.d asks this file).
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee $policy >/dev/null
  "${root[@]}" chmod 755 $policy
  trap '"${root[@]}" rm -f $policy' EXIT
fi

echo "need.sh: installing ${missing[*]}" >&2
"${root[@]}" apt-get update -qq || fail "apt-get update failed"
DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null \
  || fail "apt-get install failed"
for need in "$@"; do
  have "${need%%=*}" || fail "${need#*=} is installed, yet ${need%%=*} is not there"
done
