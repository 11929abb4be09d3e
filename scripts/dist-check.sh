#!/usr/bin/env bash
# Whether the package that dist.sh made can be installed and used: unpacked into an empty root, looked through, and run from
# there.
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { echo "dist-check.sh: $1" >&2; exit 1; }

deb=$(ls target/dist/duolu_*.deb)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
dpkg-deb -x "$deb" "$root"
lib=$root/usr/lib/duolu

field() { dpkg-deb -f "$deb" "$1"; }
for relation in Conflicts Replaces Breaks Provides Pre-Depends; do
  [ -z "$(field $relation)" ] || fail "the package has $relation: $(field $relation); it is to replace nothing"
done
[ -z "$(dpkg-deb --ctrl-tarfile "$deb" | tar t | grep -vE '^\./(control|md5sums|sha256sums)?$')" ] \
  || fail "the package runs something when it is installed, or has configuration files"

# Nothing where the loader, or another package, would find it.
outside=$(cd "$root" && find . \( -type f -o -type l \) \
  | grep -vE '^\./usr/(bin/duolu|lib/duolu/libevent[a-z_]*-2\.1\.so\.7|share/(doc/duolu|man/man1|bash-completion/completions|zsh/vendor-completions|fish/vendor_completions\.d)/[^/]*duolu[^/]*|share/doc/duolu/[^/]+)$' || true)
[ -z "$outside" ] || fail "files where none should be: $outside"

# One object under all its names.
for part in core extra pthreads; do
  [ "$(readlink "$lib/libevent_$part-2.1.so.7")" = libevent-2.1.so.7 ] || fail "libevent_$part is a copy, not a link"
done
objdump -p "$lib/libevent-2.1.so.7" | grep -q 'SONAME *libevent-2.1.so.7$' || fail "the object has another SONAME"

# What is asked of glibc is what Depends promises.
newest=$(objdump -T "$root/usr/bin/duolu" "$lib"/*.so.7 | grep -oE 'GLIBC_[0-9]+(\.[0-9]+)+' | cut -d_ -f2 | sort -Vu | tail -1)
promised=$(field Depends | grep -oE 'libc6 \(>= [0-9.]+\)' | grep -oE '[0-9.]+[0-9]' | tail -1)
[ "$(printf '%s\n' "$newest" "$promised" | sort -V | tail -1)" = "$promised" ] \
  || fail "the files need glibc $newest, the package asks for $promised (depends in crates/cli/Cargo.toml)"

# From there, and from the folder it was made of.
for duolu in "$root/usr/bin/duolu" target/dist/bin/duolu target/release/duolu; do
  where=$(realpath "$(dirname "$duolu")/../lib/duolu" 2>/dev/null || realpath target/dist/lib/duolu)
  said=$("$duolu" with -v --lang en memcached --version 2>&1) || fail "$duolu with memcached --version: $said"
  grep -q "gets libevent-2.1.so.7 from $where " <<<"$said" || fail "$duolu with memcached: $said"
done
man=$(zcat "$root/usr/share/man/man1/duolu-with.1.gz")
grep -q PROGRAM <<<"$man" || fail "duolu-with.1 does not tell of PROGRAM"
for completion in bash-completion/completions/duolu zsh/vendor-completions/_duolu fish/vendor_completions.d/duolu.fish; do
  grep -q verbose "$root/usr/share/$completion" || fail "$completion does not complete"
done
echo "dist-check.sh: $(basename "$deb"): replaces nothing, runs from any root" >&2
