#!/usr/bin/env bash
# Branch and MC/DC coverage of the rooms record, log and coordinator by their own tests, with the places
# that no test reaches.   Usage: coverage.sh [BUILD_DIR]
# Fails below the share that was reached before (MILLRACE_LEAST_BRANCHES, MILLRACE_LEAST_MCDC, in percent).
set -euo pipefail
cd "$(dirname "$0")/.."
build_dir=${1:-build/coverage}
rooms=(record log coordinator)
# Debian builds Abseil with g++, which mangles some names as clang did before 18.
flags="-O1 -fclang-abi-compat=17 -fprofile-instr-generate -fcoverage-mapping -fcoverage-mcdc -w"
cmake -S . -B "$build_dir" -G Ninja -DCMAKE_CXX_COMPILER=clang++-19 -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_FLAGS="$flags" -DCMAKE_CXX_FLAGS_RELEASE= \
  -DMILLRACE_BUILD_EXAMPLES=OFF -DMILLRACE_BUILD_CLI=OFF -DMILLRACE_WARNINGS= >/dev/null
nice cmake --build "$build_dir" --target "${rooms[@]/#/test_}"

# The sweeps need not be long to fail every call in some way.
export MILLRACE_CRASH_IMAGES=${MILLRACE_CRASH_IMAGES:-3000} MILLRACE_ERROR_RUNS=${MILLRACE_ERROR_RUNS:-12000}
export MILLRACE_FLIP_STRIDE=${MILLRACE_FLIP_STRIDE:-41}
objects=() profiles=()
for room in "${rooms[@]}"; do
  profile=$build_dir/$room.profraw
  LLVM_PROFILE_FILE=$profile "$build_dir/bin/test_$room" '~[.slow]' >"$build_dir/$room.log" ||
    { tail -60 "$build_dir/$room.log"; exit 1; }
  profiles+=("$profile")
  objects+=(-object "$build_dir/bin/test_$room")
done
llvm-profdata-19 merge -sparse "${profiles[@]}" -o "$build_dir/all.profdata"
sources=()
for room in "${rooms[@]}"; do sources+=("$PWD/lib/$room"); done
llvm-cov-19 export -format=text -skip-functions -instr-profile="$build_dir/all.profdata" \
  "${objects[@]:1}" "${sources[@]}" >"$build_dir/coverage.json"
python3 tests/coverage.py "$build_dir/coverage.json" "${rooms[@]}" \
  --least-branches "${MILLRACE_LEAST_BRANCHES:-0}" --least-mcdc "${MILLRACE_LEAST_MCDC:-0}"
