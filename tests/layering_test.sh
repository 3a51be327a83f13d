#!/usr/bin/env bash
# Folders include only downward (docs/architecture.md). Reads every include of our own headers and compares it with the
# table; also that the torch-free folders include nothing of LibTorch, and that no source file outgrows 400 lines.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

declare -A allowed=(
  [core]="core"
  [formats]="formats core"
  [data]="data core"
  [hub]="hub core formats"
  [kernels]="kernels core"
  [parallel]="parallel core"
  [parallel/comm]="parallel/comm parallel core"
  [parallel/liveness]="parallel/liveness parallel/comm parallel core"
  [models]="models core formats kernels parallel parallel/comm"
  [models/spec]="models/spec core formats parallel"
  [trainer]="trainer models models/spec data parallel parallel/comm kernels formats core"
  [launch]="launch core parallel"
  [recipes]="recipes recipes/train core formats data hub kernels parallel parallel/comm parallel/liveness models models/spec trainer launch"
)
torch_free="core formats data hub parallel models/spec launch"
faults=0
fault() { echo "layering: $*"; faults=$((faults + 1)); }

# The most specific known folder of a path.
folder_of() {
  case "$1" in
    models/spec/*) echo models/spec ;;
    parallel/comm/*) echo parallel/comm ;;
    parallel/liveness/*) echo parallel/liveness ;;
    */*) echo "${1%%/*}" ;;
  esac
}

while IFS=: read -r file _ include; do
  from=$(folder_of "$file")
  target=${include#*\"}
  target=${target%\"*}
  [ -n "${allowed[$from]:-}" ] || continue
  if [[ "$target" != */* ]]; then
    fault "$file: includes \"$target\" without its folder"
    continue
  fi
  to=$(folder_of "$target")
  case "$from" in models) [ "$to" = models/spec ] && continue ;; esac
  case " ${allowed[$from]} " in
    *" $to "*) ;;
    *) fault "$file includes $target: $from may include only: ${allowed[$from]}" ;;
  esac
done < <(grep -nE '^#include "' $(git ls-files '*.h' '*.cpp' '*.inc' | grep -vE '^tests/|hftext'))

for folder in $torch_free; do
  while IFS= read -r hit; do fault "torch in a torch-free folder: $hit"; done \
    < <(git grep -nE '#include <(torch|ATen|c10)/' -- "$folder/*.h" "$folder/*.cpp" | grep -v '^models/[a-z_]*\.' || true)
done

while read -r lines file; do
  [ "$file" = total ] || [ "$lines" -le 400 ] || fault "$file has $lines lines: split it (400 is the limit)"
done < <(git ls-files '*.h' '*.cpp' '*.inc' '*.rs' | grep -v '^tests/' | xargs wc -l)

[ "$faults" = 0 ] || exit 1
echo "layering: every include points downward"
