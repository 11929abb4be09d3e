#!/usr/bin/env bash
# sanitize.sh address|thread: the drop-in under a sanitizer, below programs that have none: the C programs of crates/conform and
# memcached, tmux, tor and pgbouncer (DUOLU_SANITIZE="--test apps": these only). The library alone is compiled with it; the sanitizer's runtime, of rustc's own LLVM, is loaded
# before the program. First it must find a planted fault: what finds nothing there would find nothing anywhere.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
  address) short=asan flags=-Zsanitizer=address ;;
  # The standard library is not compiled with it; what it does is atomic or behind locks that the runtime sees.
  thread) short=tsan flags="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" ;;
  *) echo "sanitize.sh: address or thread?" >&2; exit 2 ;;
esac
host=$(rustc -vV | sed -n 's/^host: //p')
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
scripts/need.sh "/usr/lib/llvm-$llvm/lib/clang/*/lib/linux/libclang_rt.$short-x86_64.so=libclang-rt-$llvm-dev" \
  addr2line=binutils cc=gcc memcached=memcached memccapable=libmemcached-tools tor=tor \
  /usr/sbin/pgbouncer=pgbouncer psql=postgresql-client tmux=tmux \
  /usr/sbin/unbound=unbound turnserver=coturn fstrm_capture=fstrm-bin /usr/include/event2/event.h=libevent-dev
runtime=$(compgen -G "/usr/lib/llvm-$llvm/lib/clang/*/lib/linux/libclang_rt.$short-x86_64.so" | head -1)

target=$PWD/${CARGO_TARGET_DIR:-target}
RUSTC_BOOTSTRAP=1 RUSTFLAGS=$flags cargo build --quiet --package duolu-libevent --target "$host" --target-dir "$target/$short"
object=$target/$short/$host/debug/libduolu_libevent.so
room=$target/$short/room
mkdir -p "$room/lib"
for part in "" _core _extra _pthreads; do ln -sf "$object" "$room/lib/libevent$part-2.1.so.7"; done

symbols="external_symbolizer_path=$(command -v addr2line)"
export ASAN_OPTIONS=$symbols:allocator_may_return_null=1
export TSAN_OPTIONS=$symbols:allocator_may_return_null=1:suppressions=$PWD/crates/conform/sanitize/thread.txt

cc -g -O1 -Wall -Wextra -Wno-use-after-free -pthread -o "$room/planted" "crates/conform/sanitize/planted_$1.c" -levent
found=$(LD_LIBRARY_PATH=$room/lib LD_PRELOAD=$runtime "$room/planted" 2>&1 || true)
case $1 in address) wanted=heap-use-after-free ;; thread) wanted="data race" ;; esac
grep -q "$wanted" <<<"$found" && grep -q "duolu_" <<<"$found" || {
  echo "sanitize.sh: the planted fault was not found, so the sanitizer sees nothing here. It said: ${found:-nothing}" >&2
  exit 1
}
echo "sanitize.sh: the planted fault is found ($wanted); now the library with what it has to do" >&2

# util_address has two gigabytes of text, which is too much for the sanitizers' shadows; alloc_exhausted leaves them no address space.
skip=(--skip util_address --skip alloc_exhausted)
preload=$runtime
if [ "$1" = thread ]; then
  # One thread only, and levels with and without locks mixed at random: such locks are taken in either order, as in C libevent.
  skip+=(--skip random_bufferevents)
  cc -g -O1 -Wall -Wextra -Werror -shared -fPIC -o "$room/numbers.so" crates/conform/sanitize/numbers.c
  preload=$room/numbers.so:$runtime
fi
DUOLU_LIBEVENT=$object DUOLU_LIBEVENT_PRELOAD=$preload \
  cargo test --quiet --package duolu-conform --no-fail-fast ${DUOLU_SANITIZE:---test programs --test apps} -- "${skip[@]}"
