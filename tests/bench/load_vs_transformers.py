#!/usr/bin/env python3
"""Loading a sharded safetensors checkpoint: hone's load_model against transformers' from_pretrained, in turns.

  tests/bench/load_vs_transformers.py --bench build/bin/load_bench [--rounds 5] [--layers 16] [--work DIR]

Makes a Llama folder of random weights in shards, in float32 and in bfloat16, and loads it frozen in its own dtype (what
inference and LoRA do) and, from bfloat16, as float32 weights to be trained. Both sides leave weights they need not convert
in the files' memory map, so the call alone says little: reported are the call, the call and one touch of every page
of the weights, and the process's largest resident size after that. Page cache warm, free memory populated, the same
threads; the sums are compared.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from free_memory import populate_free_memory

MAKE = """
import sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
folder, dtype, layers = sys.argv[1:4]
config = LlamaConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=int(layers), num_attention_heads=16,
                     num_key_value_heads=8, vocab_size=32000, tie_word_embeddings=False)
torch.manual_seed(0)
LlamaForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size="200MB")
"""
LOAD = """
import json, re, sys, time
import torch
from transformers import AutoModelForCausalLM
from transformers.models.llama import modeling_llama  # imported lazily otherwise: not the load's cost
folder, dtype = sys.argv[1:3]
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read()).group(1)) * 1024
before = peak()
start = time.perf_counter()
model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
seconds, loaded = time.perf_counter() - start, peak()
with torch.no_grad():
    total = sum(p.flatten()[::1024].double().sum().item() for p in model.parameters())
print(json.dumps({"seconds": seconds, "used_seconds": time.perf_counter() - start, "before": before, "loaded": loaded,
                  "peak": peak(), "sum": total}))
"""
CASES = (("frozen, float32", "float32", "float32", []), ("frozen, bfloat16", "bfloat16", "bfloat16", []),
         ("trained in float32, from bfloat16", "bfloat16", "float32", ["train"]))


def run(command, environment):
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]}: exit {done.returncode}\n{done.stderr[-3000:]}")
    return done.stdout.strip().splitlines()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, required=True, help="the built load_bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--work", type=Path, help="where the folders are kept; a temporary folder if not given")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="load_bench"))
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
    print("| case | hone | transformers | speed: call | speed: call and first touch | peak memory | added by load and touch |")
    print("|---|---|---|---|---|---|---|")
    for case, file_dtype, dtype, extra in CASES:
        folder = work / file_dtype
        if not (folder / "config.json").exists():
            run([sys.executable, "-c", MAKE, folder, file_dtype, options.layers], environment)
        pairs = []
        for _ in range(options.rounds + 1):
            populate_free_memory()
            a = json.loads(run([options.bench.resolve(), folder, dtype, *extra], environment)[-1])
            populate_free_memory()
            b = json.loads(run([sys.executable, "-c", LOAD, folder, dtype], environment)[-1])
            if abs(a["sum"] - b["sum"]) > 1e-6 * max(1, abs(b["sum"])):
                sys.exit(f"the loaded weights differ: {a} {b}")
            pairs.append((a, b))
        del pairs[0]  # it warmed the page cache

        def ratio(of, invert=False):
            values = sorted(of(b) / of(a) if invert else of(a) / of(b) for a, b in pairs)
            return f"{statistics.median(values):.2f} ({values[0]:.2f} to {values[-1]:.2f})"

        def side(index):
            median = lambda key: statistics.median(pair[index][key] for pair in pairs)
            return f"{median('seconds'):.3f} s, {median('used_seconds'):.3f} s, {median('peak') / 1e9:.2f} GB"

        print(f"| {case} | {side(0)} | {side(1)} | {ratio(lambda r: r['seconds'], True)} | "
              f"{ratio(lambda r: r['used_seconds'], True)} | {ratio(lambda r: r['peak'])} | "
              f"{ratio(lambda r: r['peak'] - r['before'])} |", flush=True)


if __name__ == "__main__":
    main()
