#!/usr/bin/env bash
# Runs every fuzz target over its corpus and then for some seconds more. A finding fails, and its input
# stays in BUILD_DIR/findings; it belongs into corpus/ with the fix.
#   run.sh BUILD_DIR [SECONDS_EACH] [SEED]      SECONDS_EACH 0: the corpus alone
# To grow a corpus:  MILLRACE_FUZZ_KEEP=1 run.sh BUILD_DIR 60   merges what is new into it.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build_dir=$1 seconds=${2:-10} seed=${3:-1}
mkdir -p "$build_dir/findings"
checked=0 wrong=0
# What is freed is reused soon, so that the limit of memory is one of the target's, not of the sanitizer's.
export ASAN_OPTIONS=quarantine_size_mb=16:malloc_context_size=8

# fuzz NAME WORK_DIR: an input over 10 s is a finding, and so is one allocation over 64 MB or a process
# over 512 MB.
fuzz() {
  local limit=(-max_total_time="$seconds")
  [ "$seconds" -gt 0 ] || limit=(-runs=0)
  "$build_dir/bin/fuzz_$1" -seed="$seed" "${limit[@]}" -timeout=10 -rss_limit_mb=512 -malloc_limit_mb=64 \
    -artifact_prefix="$build_dir/findings/$1-" -print_final_stats=1 "$2" "$here/corpus/$1"
}

for source in "$here"/*_fuzz.cc; do
  name=$(basename "$source" _fuzz.cc)
  work=$(mktemp -d)
  log=$work.log
  inputs=$(find "$here/corpus/$name" -type f 2>/dev/null | wc -l)
  runs=0
  fuzz "$name" "$work" >"$log" 2>&1 && runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  # An empty corpus, a target that was not built and one that ran nothing are failures too.
  if [ "${runs:-0}" -ge "$inputs" ] && [ "$inputs" -gt 0 ]; then
    printf 'fuzz %-18s %9d inputs, %4d of them from its corpus\n' "$name" "$runs" "$inputs"
    checked=$((checked + runs))
    [ "${MILLRACE_FUZZ_KEEP:-0}" = 0 ] ||
      "$build_dir/bin/fuzz_$name" -merge=1 "$here/corpus/$name" "$work" >/dev/null 2>&1
  else
    printf 'fuzz %-18s FOUND something, or ran nothing:\n' "$name"
    tail -40 "$log"
    wrong=$((wrong + 1))
  fi
  rm -rf "$work" "$log"
done

echo "harness=fuzz checked=$checked lost=0 wrong=$wrong"
[ "$wrong" -eq 0 ] && [ "$checked" -gt 0 ]
