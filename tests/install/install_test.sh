#!/usr/bin/env bash
# The installed folder, moved elsewhere and with the build tree and its downloads out of sight: its programs train a model, all
# of their libraries come from it or from the system, and the example of a custom objective builds and trains against it.
#   tests/install/install_test.sh BUILD_FOLDER LIBTORCH_FOLDER
set -euo pipefail
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "install: $*" >&2; exit 1; }

cmake --install "$build" --prefix "$work/first" > "$work/install.log"
mv "$work/first" "$work/moved"
prefix="$work/moved"
cp -r "$source/tests/golden/tiny-chat" "$work/model"
cp -r "$source/docs/examples/custom_objective" "$work/example"
cat > "$work/recipe.yaml" <<RECIPE
recipe: sft
model_name_or_path: $work/model
datasets: [{path: $work/model/train.jsonl, format: messages}]
max_length: 64
max_steps: 3
logging_steps: 1
output_dir: $work/run
RECIPE

cat > "$work/elsewhere.sh" <<'SCRIPT'
set -euo pipefail
work=$1 prefix=$2 hidden=$3
fail() { echo "install: $*" >&2; exit 1; }
# Another machine has neither the build tree nor what was downloaded for it.
for folder in $hidden; do mount -t tmpfs none "$folder"; done
for file in "$prefix"/bin/* "$prefix"/lib/libhone.so; do
  ldd "$file" > "$work/ldd.txt"
  if grep "not found" "$work/ldd.txt"; then fail "$file lacks libraries"; fi
  from=$(awk '$3 ~ /^\// {print $3}' "$work/ldd.txt" | xargs -n1 readlink -f)
  for library in $from; do
    case $library in "$(readlink -f "$prefix")"/lib/* | /lib/* | /usr/lib/*) ;; *) fail "$file takes $library" ;; esac
  done
done
ldd "$prefix/bin/hone-train" > "$work/ldd.txt"
for library in libtorch_cpu libgit2 libyaml-cpp; do
  grep -q "$library.*$prefix/" "$work/ldd.txt" || fail "$library is not the installed one"
done
export OMP_NUM_THREADS=1 HONE_HUB="$work/hub" XDG_CACHE_HOME="$work/cache"
"$prefix/bin/hone" --version
"$prefix/bin/hone" plan "$work/recipe.yaml" --hardware a100 > "$work/plan.txt"
grep -q "fits:" "$work/plan.txt" || fail "no plan"
"$prefix/bin/hone" train "$work/recipe.yaml" > "$work/train.txt" 2>&1 || { cat "$work/train.txt"; fail "no training"; }
[ -f "$work/run/model.safetensors" ] || fail "training left no model"
cmake -S "$work/example" -B "$work/example/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release > "$work/cmake.txt"
cmake --build "$work/example/build" > "$work/compile.txt" 2>&1 || { tail -20 "$work/compile.txt"; fail "the example does not compile"; }
"$work/example/build/custom_objective" "$work/model" "$work/model/train.jsonl" "$work/custom" 5 | tee "$work/custom.txt"
grep -q "^5 steps, last loss" "$work/custom.txt" || fail "the example did not train"
SCRIPT

hidden="$build $(dirname "$2")"
unshare --mount bash "$work/elsewhere.sh" "$work" "$prefix" "$hidden" || fail "it does not run elsewhere"
echo "install: moved and alone, it trains"
