#!/bin/bash
# run.sh [ROUNDS]: builds the subjects and compares them; prints Markdown. Needs cc, libevent-dev, valgrind, taskset.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --quiet -p duolu-bench
exec ./target/release/duolu-bench "$@"
