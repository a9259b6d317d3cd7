#!/usr/bin/env bash
# Installs what is missing, builds, and runs the demo: real events through partitions to a consumer
# group, a kill -9 in the middle, replay, retention.   Usage: examples/run.sh [LOG_FILE]
set -euo pipefail
cd "$(dirname "$0")/.."
packaging/install-dependencies.sh test
cmake --preset release -DCMAKE_CXX_COMPILER_LAUNCHER=ccache >/dev/null
cmake --build build/release --target millrace-demo millrace-cli
exec build/release/bin/millrace-demo "$@"
