#!/usr/bin/env bash
# Runs one harness, with small numbers by default and with those of a full check under MILLRACE_FULL=1.
#   harness.sh NAME BUILD_DIR
# seeded-bugs and fuzz are made of builds of their own (.ci/run): without these they are skipped, in a
# full check they fail.
set -euo pipefail
name=$1 bin=$2/bin
here=$(cd "$(dirname "$0")" && pwd)
full=${MILLRACE_FULL:-0}

# number SMALL FULL
number() { if [ "$full" = 1 ]; then echo "$2"; else echo "$1"; fi; }
# needs FILE WHAT: skipped, or failed in a full check, when FILE is not there.
needs() {
  [ -e "$1" ] && return
  echo "SKIPPED: needs $2"
  [ "$full" = 1 ] && exit 1
  exit 77
}

case $name in
  crash-sweep)
    MILLRACE_CRASH_IMAGES=$(number 4000 120000) "$bin/test_log" "[crash-sweep]"
    MILLRACE_BROKER_CRASH_IMAGES=$(number 1500 80000) "$bin/test_broker" "[crash-sweep]"
    ;;
  # A pass over every disk operation of every workload, and every way to fail, takes about 115,000 runs.
  error-sweep) MILLRACE_ERROR_RUNS=$(number 2000 130000) "$bin/test_log" "[error-sweep]" ;;
  byte-flip) MILLRACE_FLIP_STRIDE=$(number 41 1) "$bin/test_log" "[byte-flip]" ;;
  oom-sweep)
    scratch=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    "$bin/oom_sweep" "$scratch/log" "$(number 37 1)"
    ;;
  history-self-test) "$bin/history_self_test" --operations "$(number 5000 100000)" ;;
  kill-loop)
    needs "$bin/kill_loop" "a build with kill points"
    MILLRACE_KILL_CYCLES=$(number 60 3000) "$bin/kill_loop" --child "$bin/kill_loop_child"
    ;;
  kill-loop-notices) "$bin/kill_loop" --child "$bin/kill_loop_child" --self-test 1 ;;
  power-cut)
    MILLRACE_POWER_CUTS=$(number 4 400) "$bin/power_cut" --child "$bin/kill_loop_child"
    ;;
  disk-full) "$bin/disk_full" ;;
  write-back-failure) "$bin/write_back_failure" ;;
  process-limits) "$bin/process_limits" ;;
  seeded-bugs)
    needs "$2/../seeded/bin/test_log" "build/seeded (.ci/run seeded)"
    bash "$here/seeded_bugs/run.sh" "$2/../seeded"
    ;;
  fuzz)
    needs "$2/../fuzz/bin/fuzz_batch" "build/fuzz (.ci/run clang)"
    bash "$here/fuzz/run.sh" "$2/../fuzz" "$(number 1 10)"
    ;;
  *) echo "no harness is named '$name'" >&2; exit 2 ;;
esac
