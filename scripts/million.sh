#!/usr/bin/env bash
# million.sh: so many connections at once, up a ladder, and the picture of it. One loader process holds its ends beyond
# RLIMIT_NOFILE in the file tables of io_uring rings. The server does so too (io_uring), or is as many processes as it
# takes (any other model). A line a rung; each model stops at its first wall, by name. Changes no setting.
#   MODEL="io_uring"                      the models; "io_uring epoll-lt" lays two over each other
#   RUNGS="10000 100000 500000 1000000"   how many
#   HOLD=5s                               how long each rung is held and sampled
#   OUT=target/million                    where report.html, result.json and result.csv go
#   DUOLU_KEEP_FREE=3GiB                  memory that is left alone (default: a sixteenth of the machine)
#   DUOLU=target/release/duolu            the command
set -euo pipefail
cd "$(dirname "$0")/.."
models=${MODEL:-io_uring}
rungs=${RUNGS:-10000 100000 500000 1000000}
hold=${HOLD:-5s}
out=${OUT:-target/million}
duolu=${DUOLU:-target/release/duolu}
scratch=$(mktemp -d)
server=
cells=
cleanup() {
  [ -z "$server" ] || kill -TERM "$server" 2>/dev/null || true
  rm -rf "$scratch"
}
trap cleanup EXIT
mkdir -p "$out"

# field NAME: of the loader's result. The name is unique in it; null and what is missing are a dash.
field() {
  local value
  value=$(grep -o "\"$1\":[^,}]*" "$scratch/result" | head -1 | cut -d: -f2- | tr -d '"')
  case $value in '' | null) echo - ;; *) echo "$value" ;; esac
}
scaled() { awk -v value="$1" -v by="$2" -v form="$3" 'BEGIN { if (value == "-") print "-"; else printf form, value / by }'; }
available() { awk '/^MemAvailable/ { printf "%.2f", $2 / 1e6 * 1.024 }' /proc/meminfo; }

# keep COMPLETE: writes the rungs so far, so that they survive whatever happens next.
keep() {
  printf '{"schema":1,"kind":"crowd","complete":%s,"results":[%s]}\n' "$1" "$cells" >"$scratch/all"
  mv "$scratch/all" "$out/result.json"
}

# serve MODEL RUNG: starts the server; its port in $port.
serve() {
  local words=(--model "$1")
  [ "$1" = io_uring ] || words+=(--processes --max-connections "$2")
  : >"$scratch/ready"
  "$duolu" serve echo :0 "${words[@]}" --json-ready --quiet --drain 1s >"$scratch/ready" 2>"$scratch/server" &
  server=$!
  for _ in $(seq 200); do
    [ -s "$scratch/ready" ] && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.05
  done
  port=$(grep -o '"port":[0-9]*' "$scratch/ready" | cut -d: -f2) || {
    echo "million.sh: the server did not start: $(cat "$scratch/server")" >&2
    exit 3
  }
}

format='%-10s %11s %11s %5s %6s %11s %12s %10s %10s %10s %8s %6s %22s %7s\n'
# climb MODEL: up the ladder to the first wall.
climb() {
  local rung before held wrong replies code processes
  for rung in $rungs; do
    serve "$1" "$rung"
    before=$(available)
    code=0
    "$duolu" load "127.0.0.1:$port" --sampled -c "$rung" -d "$hold" --timeout 20s --json >"$scratch/result" || code=$?
    kill -TERM "$server"
    wait "$server" || true
    server=
    [ -s "$scratch/result" ] || exit "$code"
    cells="$cells${cells:+,}
{\"server\":$(cat "$scratch/ready"),\"load\":$(cat "$scratch/result")}"
    keep false
    held=$(field established)
    wrong=$(field wrong_bytes)
    [ "$wrong" = - ] && wrong=0
    replies=$(field replies)
    processes=1
    grep -q '"processes":true' "$scratch/ready" && processes=$(grep -o '"workers":[0-9]*' "$scratch/ready" | cut -d: -f2)
    # shellcheck disable=SC2059
    printf "$format" "$1" "$rung" "$held" "$processes" "$(field rings)" \
      "$(scaled "$(field server_rss_bytes)" 1e6 %.1f)" "$(field kernel_bytes_per_connection)" \
      "$(scaled "$(field connects_per_s)" 1 %.0f)" "$(scaled "$(field p50_us)" 1 %.1f)" \
      "$(scaled "$(field p99_us)" 1 %.1f)" "$replies" "$wrong" \
      "$before/$(scaled "$(field memory_during_bytes)" 1e9 %.2f)/$(available)" "$(scaled "$(field back_s)" 1 %.1f)"
    sed 's/^/  /' "$scratch/server"
    if [ "$code" != 0 ] || [ "$wrong" != 0 ]; then
      echo "million.sh: the loader ended with code $code; $wrong wrong replies" >&2
      return 1
    fi
    if [ "$held" -lt "$rung" ]; then
      echo "stopped at a wall: $(grep -o '"wall":{[^}]*}' "$scratch/result" || echo 'none was named')"
      grep -o '"errors":{[^}]*}' "$scratch/result"
      return 1
    fi
  done
}

# shellcheck disable=SC2059
printf "$format" model connections established proc rings 'server MB' 'kernel B/con' 'connects/s' 'p50 us' 'p99 us' \
  replies wrong 'GB before/held/after' 'back s'
outcome=0
for model in $models; do
  climb "$model" || outcome=1
done
keep true
"$duolu" report "$out" --csv "$out/result.csv" --quiet
echo "the picture: $(cd "$out" && pwd)/report.html (and result.json, result.csv beside it)"
exit "$outcome"
