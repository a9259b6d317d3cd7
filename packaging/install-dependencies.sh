#!/usr/bin/env bash
# Installs what Millrace needs from Debian's packages and is not there yet.
#   install-dependencies.sh [build|test|check]
# build: the library, the command and the examples. test: and its tests and benchmarks. check: and what
# the longer checks use (clang-19, the tools of file systems).
set -euo pipefail
build=(g++ cmake ninja-build ccache pkg-config libabsl-dev libfmt-dev libzstd-dev liblz4-dev
  libsnappy-dev zlib1g-dev libre2-dev libcli11-dev)
tests=(catch2 libbenchmark-dev nlohmann-json3-dev)
check=(clang-19 clang-tidy-19 clang-format-19 libclang-rt-19-dev llvm-19 e2fsprogs xfsprogs python3)

case "${1:-build}" in
  build) wanted=("${build[@]}") ;;
  test) wanted=("${build[@]}" "${tests[@]}") ;;
  check) wanted=("${build[@]}" "${tests[@]}" "${check[@]}") ;;
  *) echo "usage: $0 [build|test|check]" >&2; exit 2 ;;
esac

missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "needs root, or sudo, to install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "installing: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
