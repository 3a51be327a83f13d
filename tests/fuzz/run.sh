#!/usr/bin/env bash
# Builds the fuzz programs and runs them. Stops with 1 when one finds something.
#   tests/fuzz/run.sh                  every target, 4 seconds each
#   tests/fuzz/run.sh 600 gguf         one target, ten minutes
# What is learnt stays in build-fuzz/corpus/, findings go to build-fuzz/findings/ (CONTRIBUTING.md).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:-4}
wanted=${2:-}
case "$seconds" in
  '' | *[!0-9]*) echo "tests/fuzz/run.sh: seconds: got '$seconds'; usage: tests/fuzz/run.sh [SECONDS] [TARGET]" >&2; exit 64 ;;
esac

export PATH="$PATH:$HOME/.cargo/bin"
build=build-fuzz
[ -f $build/build.ninja ] || cmake --preset fuzz
cmake --build $build --target fuzz_programs

declare -A max_bytes=([safetensors]=4096 [gguf]=32768 [yaml]=4096 [jsonl]=4096 [rows]=4096 [config]=4096 [index]=2048
  [tokenizer]=8192 [template]=4096 [cluster]=4096)
if [ -n "$wanted" ] && [ -z "${max_bytes[$wanted]:-}" ]; then
  echo "tests/fuzz/run.sh: no target '$wanted'; there are: ${!max_bytes[*]}" >&2
  exit 64
fi

# One input may take 10 s and 1 GiB, one allocation 512 MiB: far more than any reader needs for inputs this small.
fuzz() {
  local target=$1 own=$build/corpus/$1 found=$build/findings/$1 log=$build/$1.log
  mkdir -p "$own" "$found"
  if $build/bin/fuzz_"$target" -max_total_time="$seconds" -max_len="${max_bytes[$target]}" -timeout=10 \
    -rss_limit_mb=1024 -malloc_limit_mb=512 -dict=tests/fuzz/dictionaries/"$target".dict -artifact_prefix="$found/" \
    -print_final_stats=1 "$own" tests/fuzz/corpus/"$target" >"$log" 2>&1; then
    echo "$target: $(grep -ao 'number_of_executed_units: .*' "$log" | tr -d ' ' | cut -d: -f2) inputs, nothing found"
  else
    echo "$target: FOUND something, see $log; the input is in $found/"
    tail -n 40 "$log"
    return 1
  fi
}

failed=0
targets=${wanted:-"${!max_bytes[@]}"}
jobs=()
for target in $targets; do
  fuzz "$target" &
  jobs+=($!)
  if [ ${#jobs[@]} -ge "$(nproc)" ]; then
    wait "${jobs[0]}" || failed=1
    jobs=("${jobs[@]:1}")
  fi
done
for job in "${jobs[@]}"; do wait "$job" || failed=1; done
exit $failed
