#!/usr/bin/env bash
# Branch and MC/DC coverage of the rooms record, log and coordinator by their own tests, with the places
# that no test reaches.   Usage: coverage.sh [BUILD_DIR]
set -euo pipefail
cd "$(dirname "$0")/.."
build_dir=${1:-build/coverage}
# Debian builds Abseil with g++, which mangles some names as clang did before 18.
flags="-O1 -fclang-abi-compat=17 -fprofile-instr-generate -fcoverage-mapping -fcoverage-mcdc -Wno-everything"
cmake -S . -B "$build_dir" -G Ninja -DCMAKE_CXX_COMPILER=clang++-19 -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_FLAGS="$flags" \
  -DMILLRACE_BUILD_EXAMPLES=OFF -DMILLRACE_BUILD_CLI=OFF -DMILLRACE_WARNINGS= >/dev/null
rooms=(record log coordinator)
cmake --build "$build_dir" --target "${rooms[@]/#/test_}"
objects=() profiles=()
for room in "${rooms[@]}"; do
  binary=$build_dir/bin/test_$room
  LLVM_PROFILE_FILE=$build_dir/$room.profraw "$binary" >"$build_dir/$room.log"
  profiles+=("$build_dir/$room.profraw")
  objects+=(-object "$binary")
done
llvm-profdata-19 merge -sparse "${profiles[@]}" -o "$build_dir/all.profdata"
sources=()
for room in "${rooms[@]}"; do sources+=("$PWD/lib/$room"); done
common=(-instr-profile="$build_dir/all.profdata" "${objects[@]:1}" "${sources[@]}")
llvm-cov-19 report --show-branch-summary --show-mcdc-summary --show-region-summary=false \
  "${common[@]}" | cut -c1-200
echo "== branches that no test takes (first 60)"
llvm-cov-19 show --show-branches=count "${common[@]}" 2>/dev/null |
  awk '/^\/.*:$/ {file=$0} /Branch \([0-9]+:[0-9]+\):/ && /(True|False): 0[,\]]/ {print file, $0}' |
  sed "s|$PWD/||; s/  */ /g" | head -60
