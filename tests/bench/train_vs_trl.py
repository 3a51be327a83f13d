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
import os
import statistics
import sys

from two_sides import LORA, add_options, bench, machine, once, publish, rate, spread


def run_hone(runs, method, dtype, options):
    adapter = {"adapter": LORA} if method == "lora" else {}
    return runs.hone(dtype=dtype, gradient_accumulation_steps=options.accumulation, **adapter)


def run_trl(runs, method, dtype, options):
    return runs.trl(method=method, dtype=dtype, accumulation=options.accumulation, threads=options.threads)


SIDES = {"hone": run_hone, "TRL": run_trl}


def measure(options):
    """(method, side, dtype) -> list of results, a round each; sides take turns inside a round."""
    results = {}
    measure_once = once(options.results)
    with bench(options, options.threads) as runs:
        for number in range(options.rounds):
            for method in options.methods.split(","):
                for side, run_side in SIDES.items():
                    for dtype in dtypes_of(side, options):
                        result = measure_once([number, method, side, dtype], run_side, runs, method, dtype, options)
                        results.setdefault((method, side, dtype), []).append(result)
                        print(f"round {number + 1} {method} {side} {dtype}: {rate(result):.0f} tokens/s, "
                              f"{result['memory'] / 1e9:.2f} GB, first forward after {result['startup']} s, "
                              f"losses {[round(x, 3) for x in result['losses']]}", flush=True)
    return results


def dtypes_of(side, options):
    return (options.hone_dtypes if side == "hone" else options.trl_dtypes).split(",")


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
            f"| {method} | {our_dtype} / {their_dtype} | {spread(paired)} | "
            f"{ours['memory'] / theirs['memory']:.2f} | {ours['startup'] / theirs['startup']:.2f} |")
    head = ["", "hone over TRL, each in its faster dtype; tokens/s as the median of the rounds' ratios (smallest to largest):", "",
            "| method | dtype hone / TRL | tokens/s | peak memory | first forward |", "|---|---|---|---|---|"]
    return "\n".join(lines + head + ratios) + "\n"


def describe(options):
    command = (f"tests/bench/train_vs_trl.py --bin build/bin --model FOLDER --rounds {options.rounds} --steps {options.steps} "
               f"--hone-dtypes {options.hone_dtypes} --trl-dtypes {options.trl_dtypes}")
    return (f"`{command}` on {options.threads} threads on {machine()}: SmolLM2-135M-Instruct, packs of "
            f"{options.max_length:,} tokens, {options.accumulation} a step, {options.steps} steps a run, {options.rounds} rounds. "
            f"TRL without recompute.\n\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, rounds=3, steps=5)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with trl")
    parser.add_argument("--methods", default="full,lora")
    parser.add_argument("--hone-dtypes", default="float32,bfloat16")
    parser.add_argument("--trl-dtypes", default="float32,bfloat16")
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    results = measure(options)
    publish(describe(options) + table(results, options), options)


if __name__ == "__main__":
    main()
