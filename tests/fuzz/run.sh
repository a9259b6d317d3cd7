#!/usr/bin/env bash
# Runs every fuzz target over its corpus and then for some seconds more. A finding fails, and its input
# stays in BUILD_DIR/findings; it belongs into corpus/ with the fix.
#   run.sh BUILD_DIR [SECONDS_EACH] [SEED]
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build_dir=$1 seconds=${2:-10} seed=${3:-1}
mkdir -p "$build_dir/findings"
checked=0 wrong=0

for target in "$build_dir"/bin/fuzz_*; do
  name=${target##*/fuzz_}
  corpus=$here/corpus/$name
  work=$(mktemp -d)
  mkdir -p "$corpus"
  log=$work.log
  # Slow (over 10 s for one input) and greedy (over 512 MB) inputs are findings too.
  if "$target" -seed="$seed" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 \
      -malloc_limit_mb=256 -artifact_prefix="$build_dir/findings/$name-" -print_final_stats=1 \
      "$work" "$corpus" >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    printf 'fuzz %-24s %10d inputs\n' "$name" "${runs:-0}"
    checked=$((checked + ${runs:-0}))
  else
    printf 'fuzz %-24s FOUND something:\n' "$name"
    tail -40 "$log"
    wrong=$((wrong + 1))
  fi
  rm -rf "$work" "$log"
  rmdir --ignore-fail-on-non-empty "$corpus" "$here/corpus" 2>/dev/null
done

echo "harness=fuzz checked=$checked lost=0 wrong=$wrong"
[ "$wrong" -eq 0 ] && [ "$checked" -gt 0 ]
