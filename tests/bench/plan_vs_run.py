#!/usr/bin/env python3
"""What `hone train` planned and what its first step took, side by side: full and LoRA, recompute on and off, on one rank, two
data-parallel ranks and two ranks of the tensor axis.

  tests/bench/plan_vs_run.py --bin build/bin --model FOLDER [--max-length 1024] [--dtype float32]

FOLDER: SmolLM2-135M-Instruct in Hugging Face layout; trained is a model of its config with even heads (split_vs_one.py), one
thread a rank. Memory should be within 10 %; times move with what else the machine does.
"""

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from split_vs_one import make_even_model
from two_sides import LORA, RECIPE, REPOSITORY, machine, mpirun

BOUND = 0.1
LINE = re.compile(r"memory ([\d.]+) (\w+) and ([\d.]+) (\w+) \((.*?) %\), first step (.*?) and (.*?) \((.*?) %\)")


def one(options, model, work, layout, lora, recompute):
    recipe = RECIPE | {"model_name_or_path": str(model), "output_dir": str(work / "run"), "dtype": options.dtype,
                       "datasets": [{"path": str(REPOSITORY / "configs/data/debian-packages/train.jsonl"), "format": "messages"}],
                       "max_length": options.max_length, "gradient_accumulation_steps": 2, "max_steps": 1, "gradient_checkpointing": recompute}
    recipe |= {"dp": {"dp_replicate_size": 2}, "tp": {"tensor_parallel_size": 2}}.get(layout, {})
    if lora:
        recipe["adapter"] = LORA
    (work / "recipe.yaml").write_text(json.dumps(recipe))
    command = [*(mpirun(2, "yield") if layout else []), options.bin / "hone", "train", work / "recipe.yaml", "--overwrite"]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    found = LINE.search(result.stdout + result.stderr)
    if result.returncode or not found:
        sys.exit(f"{layout}: exit {result.returncode}\n{result.stderr[-2000:]}")
    return found.groups()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=lambda path: Path(path).resolve(), required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    print(f"{machine()}: {options.dtype}, packs of {options.max_length:,} tokens, one thread a rank\n")
    print("| | ranks | recompute | memory: planned | measured | error | first step: planned | measured |")
    print("|---|---|---|---|---|---|---|---|")
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        make_even_model(options.model, work / "model")
        for lora, layout, recompute in itertools.product((False, True), (None, "dp", "tp"), (False, True)):
            planned, unit, measured, other, error, step, took, _ = one(options, work / "model", work, layout, lora, recompute)
            missed += abs(float(error)) > 100 * BOUND
            print(f"| {'LoRA' if lora else 'full'} | {layout + ' 2' if layout else '1'} | {'yes' if recompute else 'no'} | {planned} {unit} | "
                  f"{measured} {other} | {error} % | {step} | {took} |", flush=True)
    print(f"\nmemory: {12 - missed} of 12 within {100 * BOUND:.0f} %")
    return missed > 0


if __name__ == "__main__":
    sys.exit(main())
