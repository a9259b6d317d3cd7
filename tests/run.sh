#!/usr/bin/env bash
# Installs what is missing, builds, and runs the tests.   Usage: tests/run.sh [ctest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
packaging/install-dependencies.sh test
cmake --preset release -DCMAKE_CXX_COMPILER_LAUNCHER=ccache >/dev/null
cmake --build build/release
ctest --test-dir build/release --output-on-failure --no-tests=error -j "$(nproc)" "$@"
