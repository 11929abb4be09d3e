#!/usr/bin/env bash
# run.sh [figures|streams|peers|compare|all]: builds the echo servers on other libraries and measures them beside duolu.
#   figures  duolu against raw epoll by hand in paired windows: 50, 500, 5,000 connections, idle ones, churn (8 minutes)
#   streams  duolu's streams and other libraries' against raw epoll by hand: 50, 500, 5,000 connections, churn (10 minutes);
#            BYTES="64 ...", CONNECTIONS="50 ..." and CHURN="50 ..." choose, an empty one leaves out
#   peers    everybody in paired windows, 500 connections (2 minutes)
#   compare  each peer as one more line of `duolu compare`, up its ladder; a report in target/peers/report
#   all      (default) these four, in this order
# Prints Markdown. Wants a quiet machine with two processors or more. STARTS=n and ROUNDS=n change how often.
set -euo pipefail
cd "$(dirname "$0")/../.."

what=${1:-all}
case $what in figures | streams | peers | compare | all) ;; *) sed -n '2,9s/^# //p' "$0" >&2; exit 2 ;; esac

scripts/need.sh cc=gcc /usr/include/event2/event.h=libevent-dev /usr/include/uv.h=libuv1-dev \
  /usr/include/ev.h=libev-dev /usr/include/liburing.h=liburing-dev setpriv=util-linux
out=$PWD/target/peers
mkdir -p "$out"
compile() { cc -O2 -Wall -Wextra -o "$out/$1" "bench/peers/c/$1.c" "${@:2}"; }
compile raw_epoll
compile io_uring -luring
compile libevent_raw -levent_core
compile libevent_bufferevent -levent_core
compile libuv -luv
compile libev -lev
cargo build --release --quiet -p duolu-cli -p duolu-bench
cargo build --release --quiet --locked --manifest-path bench/peers/rust/Cargo.toml --target-dir "$out"

duolu=$PWD/target/release/duolu
rust=$out/release
pairs() { "$rust/pairs" --starts "${STARTS:-5}" --rounds "${ROUNDS:-4}" "$@"; }
serve() { echo "$1=$duolu serve echo --model $2 --port {port} --quiet"; }
raw="raw epoll=$out/raw_epoll {port}"
null="raw epoll again=$out/raw_epoll {port}"
by_hand="io_uring by hand=$out/io_uring {port}"
own=("$(serve 'duolu epoll-lt' epoll-lt)" "$(serve 'duolu epoll-et' epoll-et)" "$(serve 'duolu io_uring' io_uring)")
peers=(
  "libevent raw=$out/libevent_raw {port}" "libevent bufferevent=$out/libevent_bufferevent {port}"
  "libuv=$out/libuv {port}" "libev=$out/libev {port}"
  "mio=$rust/echo-mio {port}" "tokio=$rust/echo-tokio {port}"
  "calloop=$rust/echo-calloop {port}" "monoio=$rust/echo-monoio {port}"
)

figures() {
  for bytes in 64 16384; do
    for connections in 50 500 5000; do
      pairs -c $connections --bytes $bytes "$raw" "$null" "${own[@]}" "$by_hand"
    done
  done
  pairs -c 15000 --active 100 "$raw" "$null" "${own[@]}" "$by_hand"
  for connections in 50 500; do
    pairs -c $connections --churn "$raw" "$null" "${own[@]}" "$by_hand"
  done
}

streams() {
  local ours=$PWD/target/release/duolu-bench-echo
  local all=("$raw" "$null" "duolu's stream=$ours {port}" "with timeouts=$ours {port} --timed"
    "by completions=env DUOLU_STREAMS=completions $ours {port}" "${peers[1]}" "${peers[2]}" "${peers[5]}")
  for bytes in ${BYTES-64 1024 16384}; do
    for connections in ${CONNECTIONS-50 500 5000}; do
      pairs -c "$connections" --bytes "$bytes" "${all[@]}"
    done
  done
  for connections in ${CHURN-50 500}; do
    pairs -c "$connections" --churn "${all[@]}"
  done
}

everybody() {
  for bytes in 64 16384; do
    pairs -c 500 --bytes $bytes "$raw" "$null" "${own[@]}" "$by_hand" "${peers[@]}"
  done
}

ladder() {
  local also=()
  for peer in "$raw" "$by_hand" "${peers[@]}"; do also+=(--also "$peer"); done
  "$duolu" compare --quick --models epoll-lt,epoll-et,io_uring "${also[@]}" -o "$out/report"
  echo "$out/report/report.html" >&2
}

echo "$(uname -sr), $(nproc) processors, load average $(cut -d' ' -f1-3 /proc/loadavg), $(date -u +%F)"
echo
case $what in figures) figures ;; streams) streams ;; peers) everybody ;; compare) ladder ;; all) figures; streams; everybody; ladder ;; esac
