#!/usr/bin/env bash
# Our output folders in transformers and peft, our tokenizer and templates against theirs.
#   tests/interop/run.sh PYTHON BINDIR SMOLLM2.gguf TEMPLATES LLAMA
# PYTHON has the packages of cmake/versions.env, BINDIR the built programs, TEMPLATES a folder of
# chat templates, LLAMA a llama.cpp (cmake/setup.sh --llama). Prints a line a check; exit 1 if one fails.
set -euo pipefail
export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1 TRANSFORMERS_VERBOSITY=error PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec "$1" "$(dirname "${BASH_SOURCE[0]}")/main.py" "$2" "$3" "$4" "$5"
