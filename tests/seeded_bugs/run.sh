#!/usr/bin/env bash
# Proves that the harnesses find the bugs that they exist for: each seeded bug (lib/base/seeded_bug.h) is
# switched on in turn, and the harness that is named for it in bugs.tsv must fail within its time limit;
# with no bug switched on, each must pass.   Usage: run.sh BUILD_DIR (built with -DMILLRACE_SEEDED_BUGS=ON)
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$1/bin
checked=0 wrong=0
declare -A clean

while IFS=$'\t' read -r bug binary filter seconds; do
  case $bug in ''|'#'*) continue ;; esac
  if [ -z "${clean[$binary $filter]:-}" ]; then
    clean[$binary $filter]=1
    if ! timeout 300 "$bin/$binary" "$filter" >/tmp/seeded.$$ 2>&1; then
      echo "without a bug, $binary '$filter' fails:"; tail -20 /tmp/seeded.$$
      wrong=$((wrong + 1))
    fi
  fi
  MILLRACE_SEEDED_BUG=$bug timeout "$seconds" "$bin/$binary" "$filter" >/tmp/seeded.$$ 2>&1
  status=$?
  if [ $status -eq 0 ]; then
    echo "MISSED  $bug by $binary '$filter'"; wrong=$((wrong + 1))
  elif [ $status -eq 124 ]; then
    echo "TOO SLOW (over $seconds s)  $bug by $binary '$filter'"; wrong=$((wrong + 1))
  else
    echo "caught  $bug by $binary '$filter'"; checked=$((checked + 1))
  fi
done <"$here/bugs.tsv"
rm -f /tmp/seeded.$$

echo "harness=seeded-bugs checked=$checked lost=0 wrong=$wrong"
[ "$wrong" -eq 0 ] && [ "$checked" -gt 0 ]
