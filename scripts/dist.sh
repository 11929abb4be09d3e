#!/usr/bin/env bash
# Lays out what is given to others: target/dist/bin/duolu, the libraries in target/dist/lib/duolu (a folder of their own,
# which no loader looks into by itself), manual pages and completions; and the same as a Debian package. DIST=folder for
# another place, DEB=0 without the package.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
dist=${DIST:-target/dist}
case $dist in "" | / | . | ..) echo "dist.sh: DIST=$dist is no folder for this" >&2; exit 2 ;; esac
release=$target/release

packages=(-p duolu-cli -p duolu-libevent)
# TLS is an object of its own, so that nobody else needs libssl.
[ ! -d crates/libevent-openssl ] || packages+=(-p duolu-libevent-openssl)
cargo build --release --quiet "${packages[@]}"

rm -rf "${dist:?}/bin" "$dist/lib/duolu" "$dist/share"
man=$dist/share/man/man1 bash=$dist/share/bash-completion/completions
zsh=$dist/share/zsh/vendor-completions fish=$dist/share/fish/vendor_completions.d
mkdir -p "$dist/bin" "$dist/lib/duolu" "$man" "$bash" "$zsh" "$fish"
install -m 755 "$release/duolu" "$dist/bin/duolu"
library=$dist/lib/duolu/libevent-2.1.so.7
install -m 644 "$release/libduolu_libevent.so" "$library"
# One file under all its names: the loader takes one inode once, so that they share their state. Copies would be two libraries.
for part in core extra pthreads; do ln -s libevent-2.1.so.7 "$dist/lib/duolu/libevent_$part-2.1.so.7"; done
tls=$release/libduolu_libevent_openssl.so
[ ! -d crates/libevent-openssl ] || install -m 644 "$tls" "$dist/lib/duolu/libevent_openssl-2.1.so.7"
# Line tables, for which a backtrace is not needed where it is only used; the names of functions stay.
for file in "$dist/bin/duolu" "$dist"/lib/duolu/*.so.7; do [ -L "$file" ] || strip --strip-debug "$file"; done

"$dist/bin/duolu" man "$man"
"$dist/bin/duolu" completions bash >"$bash/duolu"
"$dist/bin/duolu" completions zsh >"$zsh/_duolu"
"$dist/bin/duolu" completions fish >"$fish/duolu.fish"

if [ "${DEB:-1}" != 0 ]; then
  [ "$dist" = target/dist ] || { echo "dist.sh: the package is made from target/dist; DEB=0 for another place" >&2; exit 2; }
  tool=$(command -v cargo-deb || true)
  if [ -z "$tool" ]; then
    tool=$target/tools/bin/cargo-deb
    [ -x "$tool" ] || cargo install --quiet --locked --root "$target/tools" cargo-deb
  fi
  rm -f "$dist"/duolu_*.deb
  "$tool" --quiet --package duolu-cli --no-build --no-strip --output "$dist/"
fi
echo "$dist holds:" >&2
(cd "$dist" && find bin lib ./*.deb \( -type f -o -type l \) 2>/dev/null | sort | sed 's/^/  /') >&2
