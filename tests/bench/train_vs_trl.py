#!/usr/bin/env python3
"""The same packed fine-tuning run by hone and by TRL's SFTTrainer, in turns, on this machine.

  tests/bench/train_vs_trl.py --bin build/bin --model FOLDER [--rounds 3] [--steps 5] [--markdown docs/performance_runs.md]

FOLDER: SmolLM2-135M-Instruct in Hugging Face layout. Both sides: the same rows, all tokens trained, packed to 1,024 tokens with
documents isolated, one pack a micro-batch, AdamW, cosine. TRL runs in float32 and in bfloat16 autocast without recompute; its
faster one is compared. Reported: tokens/s (median over the steps after the first, then over rounds), peak resident memory of
the process, seconds from process start to its first forward (in a warm page cache and populated memory, with data prepared
by an earlier round).
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from free_memory import populate_free_memory

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = """recipe: sft
model_name_or_path: {model}
dtype: {dtype}
{adapter}datasets: [{{path: {data}, format: messages}}]
max_length: {max_length}
packing: true
micro_batch_size: 1
gradient_accumulation_steps: {accumulation}
learning_rate: 2.0e-4
lr_scheduler_type: cosine
warmup_steps: 1
max_steps: {steps}
seed: 42
output_dir: {output}
logging_steps: 1
"""
LORA = "adapter: {type: lora, r: 16, lora_alpha: 32, lora_dropout: 0.0, target_modules: all-linear}\n"


def run(command, environment, log):
    """Peak resident memory in bytes of the process, which must succeed."""
    populate_free_memory()
    with open(log, "w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {process.returncode}\n{Path(log).read_text()[-3000:]}")
    return usage.ru_maxrss * 1024


def run_hone(setup, method, dtype, work, options):
    output = work / "hone"
    shutil.rmtree(output, ignore_errors=True)
    recipe = work / "recipe.yaml"
    recipe.write_text(RECIPE.format(
        model=options.model.resolve(), dtype=dtype, adapter=LORA if method == "lora" else "", data=options.data.resolve(),
        max_length=options.max_length, accumulation=options.accumulation, steps=options.steps, output=output))
    memory = run([options.bin.resolve() / "hone", "train", recipe], setup, work / "hone.log")
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    rows = [r for r in rows if "loss" in r]
    tokens = [b["tokens"] - a["tokens"] for a, b in zip([{"tokens": 0}, *rows], rows)]
    startup = json.loads((output / "run.json").read_text()).get("startup_seconds")
    return {"rates": [r["tokens_per_second"] for r in rows], "tokens": tokens, "losses": [r["loss"] for r in rows],
            "memory": memory, "startup": startup}


def run_trl(setup, method, dtype, work, options):
    out = work / "trl.json"
    request = {"model": str(options.model.resolve()), "data": str(options.data.resolve()), "method": method, "dtype": dtype,
               "max_length": options.max_length, "accumulation": options.accumulation, "steps": options.steps,
               "threads": options.threads, "out": str(out), "recompute": False}
    memory = run([options.python, REPOSITORY / "tests/bench/trl_run.py", json.dumps(request)], setup, work / "trl.log")
    report = json.loads(out.read_text())
    rates = [t / s for t, s in zip(report["tokens"], report["seconds"])]
    return {"rates": rates, "tokens": report["tokens"], "losses": report["losses"], "memory": memory,
            "startup": report["startup_seconds"]}


SIDES = {"hone": run_hone, "TRL": run_trl}


def measure(options):
    """(method, side, dtype) -> list of results, a round each; sides take turns inside a round."""
    results = {}
    done = []
    if options.results and options.results.exists():
        done = [json.loads(line) for line in options.results.read_text().splitlines()]
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        work = Path(folder)
        setup = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(work / "hf"), "XDG_CACHE_HOME": str(work / "cache"),
                 "HONE_HUB": str(work / "hub"), "OMP_NUM_THREADS": str(options.threads), "TOKENIZERS_PARALLELISM": "true"}
        for number in range(options.rounds):
            for method in options.methods.split(","):
                for side, run_side in SIDES.items():
                    for dtype in dtypes_of(side, options):
                        key = [number, method, side, dtype]
                        result = next((r for k, r in done if k == key), None)
                        if result is None:
                            result = run_side(setup, method, dtype, work, options)
                            if options.results:
                                with open(options.results, "a") as out:
                                    out.write(json.dumps([key, result]) + "\n")
                        results.setdefault((method, side, dtype), []).append(result)
                        print(f"round {number + 1} {method} {side} {dtype}: {rate(result):.0f} tokens/s, "
                              f"{result['memory'] / 1e9:.2f} GB, first forward after {result['startup']} s, "
                              f"losses {[round(x, 3) for x in result['losses']]}", flush=True)
    return results


def dtypes_of(side, options):
    return (options.hone_dtypes if side == "hone" else options.trl_dtypes).split(",")


def rate(result):
    return statistics.median(result["rates"][1:] or result["rates"])


def summary(runs):
    """Median over rounds of the rate, memory and start-up; start-up leaves the first (cold) round out if there are more."""
    warm = runs[1:] or runs
    return {
        "rate": statistics.median(rate(r) for r in runs),
        "memory": statistics.median(r["memory"] for r in runs),
        "startup": statistics.median(r["startup"] for r in warm),
    }


def table(results, options):
    lines = ["| method | program | dtype | tokens/s | peak memory | first forward after |", "|---|---|---|---|---|---|"]
    ratios = []
    for method in options.methods.split(","):
        best = {}
        for side in SIDES:
            for dtype in dtypes_of(side, options):
                s = summary(results[method, side, dtype])
                lines.append(f"| {method} | {side} | {dtype} | {s['rate']:.0f} | {s['memory'] / 1e9:.2f} GB | {s['startup']:.2f} s |")
                if side not in best or s["rate"] > best[side][1]["rate"]:
                    best[side] = (dtype, s)
        (our_dtype, ours), (their_dtype, theirs) = best["hone"], best["TRL"]
        paired = [rate(a) / rate(b) for a, b in zip(results[method, "hone", our_dtype], results[method, "TRL", their_dtype])]
        ratios.append(
            f"| {method} | {our_dtype} / {their_dtype} | {statistics.median(paired):.2f} ({min(paired):.2f} to {max(paired):.2f}) | "
            f"{ours['memory'] / theirs['memory']:.2f} | {ours['startup'] / theirs['startup']:.2f} |")
    head = ["", "hone over TRL, each in its faster dtype; tokens/s as the median of the rounds' ratios (smallest to largest):", "",
            "| method | dtype hone / TRL | tokens/s | peak memory | first forward |", "|---|---|---|---|---|"]
    return "\n".join(lines + head + ratios) + "\n"


def describe(options):
    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    command = (f"tests/bench/train_vs_trl.py --bin build/bin --model FOLDER --rounds {options.rounds} --steps {options.steps} "
               f"--hone-dtypes {options.hone_dtypes} --trl-dtypes {options.trl_dtypes}")
    return (f"`{command}` on {options.threads} threads of {cpu} ({platform.machine()}): SmolLM2-135M-Instruct, packs of "
            f"{options.max_length:,} tokens, {options.accumulation} a step, {options.steps} steps a run, {options.rounds} rounds. "
            f"TRL without recompute.\n\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, default=REPOSITORY / "build/bin")
    parser.add_argument("--python", default=sys.executable, help="an interpreter with trl")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=REPOSITORY / "configs/data/debian-packages/train.jsonl")
    parser.add_argument("--methods", default="full,lora")
    parser.add_argument("--hone-dtypes", default="float32,bfloat16")
    parser.add_argument("--trl-dtypes", default="float32,bfloat16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--results", type=Path, help="keep each run's figures in this file, and take up from it")
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    options = parser.parse_args()
    results = measure(options)
    text = describe(options) + table(results, options)
    print("\n" + text)
    if options.markdown:
        options.markdown.write_text(text)


if __name__ == "__main__":
    main()
