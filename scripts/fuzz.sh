#!/usr/bin/env bash
# Fuzzes each target for SECONDS_EACH seconds (60), or the one named TARGET. What it learnt is kept in fuzz/corpus/, what failed in
# fuzz/artifacts/: `target/fuzz/.../TARGET fuzz/artifacts/TARGET/crash-...` shows it again.
#
# libFuzzer comes with the crate libfuzzer-sys, which needs a C++ compiler; the compiler's instrumentation is asked for by name,
# and so works with a stable Rust (RUSTC_BOOTSTRAP lifts the bar before -Z).
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/need.sh c++=g++
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=target/fuzz
export RUSTFLAGS="-Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1"
cargo build --release --quiet --manifest-path fuzz/Cargo.toml --target "$host"
for source in fuzz/targets/*.rs; do
  target=$(basename "$source" .rs)
  [ -z "${TARGET:-}" ] || [ "$TARGET" = "$target" ] || continue
  echo "== $target"
  mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
  "target/fuzz/$host/release/$target" "fuzz/corpus/$target" -artifact_prefix="fuzz/artifacts/$target/" \
    -max_total_time="${SECONDS_EACH:-60}" -max_len=8192 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0
done
