#!/usr/bin/env python3
"""All checks of this folder. Usage: main.py BINDIR SMOLLM2.gguf TEMPLATES LLAMA (see run.sh)"""

import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch

import check_data
import check_export
import check_import
import check_models
import check_push
import check_tensorboard
import check_templates
import check_text
from common import Checks, Programs


def main():
    torch.set_num_threads(1)
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="hone-interop-") as work:
        programs = Programs(sys.argv[1], work)
        check_text.check(checks, programs)
        check_data.check(checks, programs)
        check_templates.check(checks, programs, sys.argv[3])
        check_models.check(checks, programs)
        check_tensorboard.check(checks, programs)
        llama = Path(sys.argv[4]).resolve()
        check_export.check(checks, programs, llama)
        check_import.check(checks, programs, sys.argv[2], llama)
        check_push.check(checks, programs)
    print(f"{checks.passed} passed, {len(checks.failed)} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
