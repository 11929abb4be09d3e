#!/usr/bin/env bash
# million.sh: one process serves, one loads, and so many connections are held at once, each beyond RLIMIT_NOFILE in the
# file tables of io_uring rings. Prints a line a rung; stops at the first wall, by its name. Changes no setting.
#   RUNGS="10000 100000 500000 1000000"   how many
#   HOLD=5s                               how long each rung is held and sampled
#   DUOLU_KEEP_FREE=3GiB                  memory that is left alone (default: a sixteenth of the machine)
#   DUOLU=target/release/duolu            the command
set -euo pipefail
cd "$(dirname "$0")/.."
rungs=${RUNGS:-10000 100000 500000 1000000}
hold=${HOLD:-5s}
duolu=${DUOLU:-target/release/duolu}
scratch=$(mktemp -d)
server=
cleanup() {
  [ -z "$server" ] || kill -TERM "$server" 2>/dev/null || true
  rm -rf "$scratch"
}
trap cleanup EXIT

# field NAME: of the loader's result. The name is unique in it; null and what is missing are a dash.
field() {
  local value
  value=$(grep -o "\"$1\":[^,}]*" "$scratch/result" | head -1 | cut -d: -f2- | tr -d '"')
  case $value in '' | null) echo - ;; *) echo "$value" ;; esac
}
scaled() { awk -v value="$1" -v by="$2" -v form="$3" 'BEGIN { if (value == "-") print "-"; else printf form, value / by }'; }
available() { awk '/^MemAvailable/ { printf "%.2f", $2 / 1e6 * 1.024 }' /proc/meminfo; }

format='%11s %11s %6s %11s %12s %10s %10s %10s %8s %6s %22s %8s\n'
# shellcheck disable=SC2059
printf "$format" connections established rings 'server MB' 'kernel B/con' 'connects/s' 'p50 us' 'p99 us' replies wrong \
  'GB before/held/after' 'back s'
for rung in $rungs; do
  : >"$scratch/ready"
  "$duolu" serve echo :0 --model io_uring --json-ready --quiet --drain 1s >"$scratch/ready" 2>"$scratch/server" &
  server=$!
  for _ in $(seq 100); do
    [ -s "$scratch/ready" ] && break
    sleep 0.1
  done
  port=$(grep -o '"port":[0-9]*' "$scratch/ready" | cut -d: -f2) || {
    echo "million.sh: the server did not start: $(cat "$scratch/server")" >&2
    exit 3
  }
  before=$(available)
  code=0
  "$duolu" load "127.0.0.1:$port" --speak echo -c "$rung" -d "$hold" --timeout 20s --active 1 --quiet --json \
    >"$scratch/result" || code=$?
  kill -TERM "$server"
  wait "$server" || true
  server=
  [ -s "$scratch/result" ] || exit "$code"
  held=$(field established)
  wrong=$(field wrong_bytes)
  [ "$wrong" = - ] && wrong=0
  replies=$(field replies)
  [ "$replies" = - ] && replies=$(field messages)
  # shellcheck disable=SC2059
  printf "$format" "$rung" "$held" "$(field rings)" "$(scaled "$(field server_rss_bytes)" 1e6 %.1f)" \
    "$(field kernel_bytes_per_connection)" "$(scaled "$(field connects_per_s)" 1 %.0f)" \
    "$(scaled "$(field p50_us)" 1 %.1f)" "$(scaled "$(field p99_us)" 1 %.1f)" "$replies" "$wrong" \
    "$before/$(scaled "$(field memory_during_bytes)" 1e9 %.2f)/$(available)" "$(scaled "$(field back_s)" 1 %.1f)"
  sed 's/^/  /' "$scratch/server"
  if [ "$code" != 0 ] || [ "$wrong" != 0 ]; then
    echo "million.sh: the loader ended with code $code; $wrong wrong replies" >&2
    exit 1
  fi
  if [ "$held" -lt "$rung" ]; then
    echo "stopped at a wall: $(grep -o '"wall":{[^}]*}' "$scratch/result" || echo 'none was named')"
    grep -o '"errors":{[^}]*}' "$scratch/result"
    exit 1
  fi
done
