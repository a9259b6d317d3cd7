#!/usr/bin/env bash
# Installs a build into a scratch prefix and builds tiny programs against it, as three kinds of users do:
# find_package, pkg-config, add_subdirectory.   Usage: run.sh BUILD_DIR
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
build_dir=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi

cmake --install "$build_dir" --prefix "$scratch/prefix" >"$scratch/install.log"
# Nothing of the build tree may be needed: the names of its folders must not be in the installed files.
if grep -rIl -e "$build_dir" -e "$source_dir/lib" "$scratch/prefix" | grep .; then
  echo "the installed files name the build tree"; exit 1
fi

echo "== find_package"
cmake -S "$source_dir/tests/install/find_package" -B "$scratch/fp" -G Ninja "${launcher[@]}" \
  -DCMAKE_PREFIX_PATH="$scratch/prefix" >/dev/null
cmake --build "$scratch/fp"
"$scratch/fp/program" | grep -qx '2 x tea'
"$scratch/fp/testing_program"

echo "== each header alone, under warnings that are errors"
strict=(-std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Werror -Wconversion -Wsign-conversion
  -Wshadow -Wold-style-cast)
for compiler in g++ clang++-19; do
  command -v "$compiler" >/dev/null || continue
  (cd "$scratch/prefix/include" && find millrace -name '*.h') | while read -r header; do
    "$compiler" "${strict[@]}" -I"$scratch/prefix/include" -include "$header" -x c++ /dev/null
  done
done

echo "== pkg-config"
export PKG_CONFIG_PATH="$scratch/prefix/lib/pkgconfig:$scratch/prefix/lib/$(gcc -print-multiarch)/pkgconfig"
# shellcheck disable=SC2046
g++ "$source_dir/tests/install/program.cc" -o "$scratch/pc_program" $(pkg-config --cflags --libs millrace)
"$scratch/pc_program" | grep -qx '2 x tea'

if [ "${2:-}" = --add-subdirectory ]; then
  echo "== add_subdirectory"
  cmake -S "$source_dir/tests/install/add_subdirectory" -B "$scratch/as" -G Ninja "${launcher[@]}" \
    -DMILLRACE_SOURCE="$source_dir" -DCMAKE_BUILD_TYPE=Release >/dev/null
  cmake --build "$scratch/as" --target program
  "$scratch/as/program" | grep -qx '2 x tea'
fi
echo "the installed library serves its users"
