#!/usr/bin/env bash
# Sets everything up, builds, and runs the tests. Needs root or sudo for the system packages.
#   tests/run.sh         what every change must pass
#   tests/run.sh --all   the quickstart too, which trains a real model
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

all=false
for argument in "$@"; do
  case "$argument" in
    --all) all=true ;;
    *) echo "tests/run.sh: unknown argument '$argument'; usage: tests/run.sh [--all]" >&2; exit 64 ;;
  esac
done
started=$SECONDS

say "Setting up (cmake/setup.sh --model --python --llama)"
cmake/setup.sh --model --python --llama
export PATH="$PATH:$HOME/.cargo/bin" OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

say "Format and layering"
clang-format --dry-run -Werror $(git ls-files '*.h' '*.cpp')
tests/layering_test.sh

say "Build: release"
cmake --preset release
cmake --build build

say "Tests: release"
ctest --test-dir build --output-on-failure --no-tests=error -j2

say "Tests: the parts without LibTorch under address and undefined-behaviour sanitizers"
cmake --preset asan
cmake --build build-asan
UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 ctest --test-dir build-asan --output-on-failure --no-tests=error -j2

say "Fuzzing the readers of files, a few seconds each"
tests/fuzz/run.sh

say "The CUDA build links"
cmake --preset cuda -DBUILD_TESTING=OFF
cmake --build build-cuda
build-cuda/bin/nccl_link

say "clang-tidy on the units without LibTorch"
tests/tidy.sh build-asan

if $all; then
  say "The quickstart, in a hub of its own"
  HONE_HUB=$(mktemp -d) launch/quickstart.sh
fi

say "All passed in $((SECONDS - started)) s. Try it: launch/quickstart.sh"
