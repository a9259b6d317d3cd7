#!/usr/bin/env bash
# Proves that the harnesses find the bugs that they exist for: each seeded bug (lib/base/seeded_bug.h) is
# switched on in turn, and the harness that bugs.tsv names for it must fail within its time limit, by an
# assertion whose words say what is wrong: a crash or a time-out is no proof. With no bug switched on, each
# harness must pass. The words of the first finding are shown.
#   run.sh BUILD_DIR   (built with -DMILLRACE_SEEDED_BUGS=ON)
# By hand: MILLRACE_SEEDED_BUG=ack-before-sync BUILD_DIR/bin/test_log '[crash-sweep]'
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$1/bin
# So much finds every one of them, several times.
export MILLRACE_CRASH_IMAGES=${MILLRACE_CRASH_IMAGES:-10000}
export MILLRACE_BROKER_CRASH_IMAGES=${MILLRACE_BROKER_CRASH_IMAGES:-1000}
export MILLRACE_ERROR_RUNS=${MILLRACE_ERROR_RUNS:-12000}
export MILLRACE_FLIP_STRIDE=${MILLRACE_FLIP_STRIDE:-41}
output=$(mktemp)
trap 'rm -f "$output"' EXIT
checked=0 wrong=0
declare -A clean named

miss() {  # miss WHAT: of the bug at hand
  printf 'MISSED  %-24s %s (%s %s)\n' "$bug" "$1" "$binary" "$filter"
  tail -15 "$output"
  wrong=$((wrong + 1))
}

while IFS=$'\t' read -r bug binary filter seconds words; do
  case $bug in ''|'#'*) continue ;; esac
  named[$bug]=1
  if [ -z "${clean[$binary $filter]:-}" ]; then
    clean[$binary $filter]=1
    timeout 300 "$bin/$binary" "$filter" >"$output" 2>&1 </dev/null
    status=$?
    if [ $status -ne 0 ] || ! grep -aq 'All tests passed' "$output"; then
      echo "without a bug, $binary '$filter' fails or has no test:"; tail -20 "$output"
      wrong=$((wrong + 1))
    fi
  fi
  MILLRACE_SEEDED_BUG=$bug timeout "$seconds" "$bin/$binary" "$filter" >"$output" 2>&1 </dev/null
  status=$?
  # Catch breaks lines; one line of it is searched.
  text=$(tr -d '\000' <"$output" | tr -s ' \n' ' ')
  if [ $status -eq 0 ]; then
    miss "nothing failed"
  elif [ $status -eq 124 ]; then
    miss "not within $seconds s"
  elif [[ $text == *'fatal error condition'* ]] || [[ $text != *'FAILED:'* ]]; then
    miss "by a crash alone (status $status)"
  elif ! found=$(grep -oE "$words" <<<"$text" | head -1) || [ -z "$found" ]; then
    miss "fails, but not with the words '$words'"
  else
    printf 'caught  %-24s by %s %s: %s\n' "$bug" "$binary" "$filter" "${found:0:60}"
    checked=$((checked + 1))
  fi
done <"$here/bugs.tsv"

# No bug without a harness.
for bug in $(sed -nE 's/^ *X\(k[A-Za-z]+, "([a-z-]+)".*/\1/p' "$here/../../lib/base/seeded_bug.h"); do
  [ -n "${named[$bug]:-}" ] && continue
  echo "MISSED  $bug: bugs.tsv names no harness for it"
  wrong=$((wrong + 1))
done

echo "harness=seeded-bugs checked=$checked lost=0 wrong=$wrong"
[ "$wrong" -eq 0 ] && [ "$checked" -gt 0 ]
