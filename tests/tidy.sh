#!/usr/bin/env bash
# tests/tidy.sh BUILD: clang-tidy over the units in BUILD's compilation database (nccl_real.cpp is in none but that of a
# build with CUDA). A unit that, with every header of the project that it includes, is unchanged since it last passed is not read
# again: its stamp is kept in the user's cache folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=$1
stamps="${XDG_CACHE_HOME:-$HOME/.cache}/hone/tidy"
mkdir -p "$stamps"

# UNIT KEY of every unit that BUILD has compiled; ninja knows what it included.
keys() {
  ninja -C "$build" -t deps | python3 -c '
import hashlib, os, sys
root, build = os.getcwd() + "/", sys.argv[1]
def text(path):
    with open(path, "rb") as file: return file.read()
rules = text(".clang-tidy")
for block in sys.stdin.read().split("\n\n"):
    paths = [os.path.abspath(os.path.join(build, line.strip())) for line in block.splitlines()[1:]]
    paths = [path[len(root):] for path in paths if path.startswith(root) and os.path.exists(path)]
    if paths: print(paths[0], hashlib.sha256(b"".join([rules, *map(text, paths)])).hexdigest()[:32])
' "$build"
}

check() {
  [ -f "$3/$2" ] && return 0
  clang-tidy -p "$build" --quiet "$1" 2>/dev/null || { echo "clang-tidy: $1"; return 1; }
  touch "$3/$2"
}
export build
export -f check
keys | sort -u | grep -vE '^(build|cmake|docs|kernels|models/[a-z_]+\.cpp|parallel/comm/nccl_real\.cpp|trainer|tests|recipes/train)' |
  xargs -P 2 -L 1 bash -c 'check "$1" "$2" "$0"' "$stamps"
echo "clang-tidy: clean"
