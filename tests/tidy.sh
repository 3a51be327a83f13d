#!/usr/bin/env bash
# tests/tidy.sh BUILD: clang-tidy over the units in BUILD's compilation database (nccl_real.cpp is in none but that of a
# build with CUDA). A unit whose text, and every header of
# the project, is unchanged since it last passed is not read again: its stamp is kept in the user's cache folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=$1
stamps="${XDG_CACHE_HOME:-$HOME/.cache}/hone/tidy"
mkdir -p "$stamps"
headers=$(git ls-files '*.h' .clang-tidy | xargs sha256sum | sha256sum | cut -c1-16)

check() {
  local unit=$1 key
  key=$({ echo "$3"; sha256sum < "$unit"; } | sha256sum | cut -c1-32)
  [ -f "$4/$key" ] && return 0
  clang-tidy -p "$2" --quiet "$unit" 2>/dev/null || { echo "clang-tidy: $unit"; return 1; }
  touch "$4/$key"
}
export -f check
git ls-files '*.cpp' | grep -vE '^(cmake|docs|kernels|models/[a-z_]+\.cpp|parallel/comm/nccl_real\.cpp|trainer|tests|recipes/train)' |
  xargs -P 2 -I{} bash -c 'check "$@"' _ {} "$build" "$headers" "$stamps"
echo "clang-tidy: clean"
