#!/bin/bash
# Runs the harnesses in turn, and the fuzz targets where build/fuzz has them, with growing seeds, for as
# long as asked, and adds what they did to a ledger: one line a run, so that the totals of months can be
# added up.
#   tests/long.sh --minutes N [--seed S] [--build DIR] [--ledger FILE]
# Stops at the first run that finds something; what that run printed is shown.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
minutes="" seed=1 build="$root/build/release" ledger="$root/docs/ledger.tsv"
usage() { echo "usage: tests/long.sh --minutes N [--seed S] [--build DIR] [--ledger FILE]" >&2; exit 2; }
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || usage
  case "$1" in
    --minutes) minutes="$2" ;;
    --seed) seed="$2" ;;
    --build) build="$2" ;;
    --ledger) ledger="$2" ;;
    *) usage ;;
  esac
  shift 2
done
[[ "$minutes" =~ ^[0-9]+$ && "$seed" =~ ^[0-9]+$ ]] || usage
[ -x "$build/bin/kill_loop" ] || { echo "no harnesses in $build/bin: build the tests first" >&2; exit 2; }

commit="$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)"
git -C "$root" diff --quiet HEAD 2>/dev/null || commit="$commit+changes"
[ -s "$ledger" ] || printf 'date\tcommit\tharness\tchecked\tlost\twrong\tseed\n' > "$ledger"

# run NAME COMMAND...: one run, and a line in the ledger for every closing line that it prints.
run() {
  local output status=0
  output="$("${@:2}" 2>&1)" || status=$?
  if [ "$status" -eq 77 ]; then
    echo "$1: $output"
    return
  fi
  local line found=0
  while IFS= read -r line; do
    [[ "$line" =~ ^harness=([a-z-]+)\ checked=([0-9]+)\ lost=([0-9]+)\ wrong=([0-9]+)$ ]] || continue
    found=1
    echo "$line seed=$seed"
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(date -u +%F)" "$commit" "${BASH_REMATCH[@]:1:4}" "$seed" >> "$ledger"
  done <<< "$output"
  if [ "$status" -ne 0 ] || [ "$found" -eq 0 ]; then
    printf '%s\n%s: ended with %s (seed %s)\n' "$output" "$1" "$status" "$seed" >&2
    exit 1
  fi
}

bin="$build/bin"
end=$((SECONDS + minutes * 60))
while [ "$SECONDS" -lt "$end" ]; do
  run kill-loop "$bin/kill_loop" --child "$bin/kill_loop_child" --seed "$seed" --cycles 3000
  run power-cut "$bin/power_cut" --child "$bin/kill_loop_child" --seed "$seed" --cuts 200
  run history-self-test "$bin/history_self_test" --seed "$seed" --operations 20000
  run disk-full "$bin/disk_full"
  run write-back-failure "$bin/write_back_failure"
  run process-limits "$bin/process_limits"
  sweep_seed=$((seed * 1000))  # a sweep of so many images takes several
  run crash-sweep env MILLRACE_SEED="$sweep_seed" MILLRACE_CRASH_IMAGES=60000 "$bin/test_log" "[crash-sweep]"
  run crash-sweep env MILLRACE_SEED="$sweep_seed" MILLRACE_BROKER_CRASH_IMAGES=40000 "$bin/test_broker" "[crash-sweep]"
  run error-sweep env MILLRACE_SEED="$sweep_seed" MILLRACE_ERROR_RUNS=65000 "$bin/test_log" "[error-sweep]"
  fuzz="$(dirname "$build")/fuzz"
  [ ! -x "$fuzz/bin/fuzz_batch" ] || run fuzz bash "$root/tests/fuzz/run.sh" "$fuzz" 10 "$seed"
  seed=$((seed + 1))
done
awk -F'\t' 'NR > 1 { c[$3] += $4; l[$3] += $5; w[$3] += $6 }
  END { for (h in c) printf "ledger: %s checked=%d lost=%d wrong=%d\n", h, c[h], l[h], w[h] }' "$ledger" | sort
