#!/usr/bin/env python3
"""Full fine-tuning on N ranks by hone under mpirun and by TRL's SFTTrainer under torchrun (DDP over gloo), in turns.

  tests/bench/ranks_vs_trl.py --bin build/bin --model FOLDER [--ranks 2] [--accumulation 1] [--rounds 3] [--steps 4]
                              [--layouts replicate,shard3] [--idle spin] [--python INTERPRETER] [--markdown FILE]

FOLDER: SmolLM2-135M-Instruct in Hugging Face layout. Both sides: the same rows packed to 1,024 tokens with documents isolated, all
tokens trained, one pack a micro-batch, the same global batch, float32, AdamW, cosine, one thread a rank. TRL in its faster
settings: no recompute, no search for unused parameters. Reported: tokens/s of all ranks together (median over the steps after the
first, then over rounds), the ratio in each round, peak resident memory of every rank; the ratio of memory is that of the
fullest rank as the kernel counted it, on both sides.
"""

import argparse
import statistics
import sys

from two_sides import add_options, bench, gigabytes, layout_keys, machine, mpirun, once, publish, rate, spread

SPEED_TARGET, MEMORY_TARGET = 1.4, 0.7  # tokens/s at least, memory at most, times TRL's


def run_hone(runs, ranks, accumulation, layout, idle):
    return runs.hone(mpirun(ranks, idle), global_batch_size=ranks * accumulation, **layout_keys(layout, ranks))


def run_trl(runs, ranks, accumulation):
    return runs.trl(ranks=ranks, accumulation=accumulation)


def measure(options):
    """(accumulation, layout) -> list of pairs (hone, TRL), a round each."""
    pairs = {}
    measure_once = once(options.results)

    def tell(number, accumulation, side, result):
        print(f"round {number + 1} accumulation {accumulation} {side}: {rate(result):.0f} tokens/s, {gigabytes(result['rank_memory'])}, "
              f"fullest {gigabytes([result['memory']])}, tokens a step {result['tokens']}, "
              f"losses {[round(x, 3) for x in result['losses']]}", flush=True)

    with bench(options, threads=1) as runs:
        for number in range(options.rounds):
            for accumulation in map(int, options.accumulation.split(",")):
                trl = measure_once([number, accumulation, "TRL"], run_trl, runs, options.ranks, accumulation)
                tell(number, accumulation, "TRL", trl)
                for layout in options.layouts.split(","):
                    hone = measure_once([number, accumulation, layout, options.idle], run_hone, runs, options.ranks, accumulation,
                                        layout, options.idle)
                    tell(number, accumulation, layout, hone)
                    pairs.setdefault((accumulation, layout), []).append((hone, trl))
    return pairs


def table(pairs):
    lines = ["| accumulation | layout | hone | TRL | tokens/s | each round | peak memory |", "|---|---|---|---|---|---|---|"]

    def side(results):
        ranks = [statistics.median(sizes) for sizes in zip(*(r["rank_memory"] for r in results))]
        return f"{statistics.median(rate(r) for r in results):.0f} tokens/s, {gigabytes(ranks)}"

    for (accumulation, layout), rounds in pairs.items():
        ratios = [rate(hone) / rate(trl) for hone, trl in rounds]
        memory = [hone["memory"] / trl["memory"] for hone, trl in rounds]
        lines.append(f"| {accumulation} | {layout} | {side([hone for hone, _ in rounds])} | {side([trl for _, trl in rounds])} | "
                     f"{spread(ratios)} | {', '.join(f'{x:.2f}' for x in ratios)} | {spread(memory)} |")
    return "\n".join(lines) + f"\n\nTargets: at least {SPEED_TARGET} of TRL's tokens/s, at most {MEMORY_TARGET} of its memory a rank.\n"


def describe(options):
    return (f"`tests/bench/ranks_vs_trl.py --bin build/bin --model FOLDER --ranks {options.ranks} --accumulation {options.accumulation} "
            f"--layouts {options.layouts} --idle {options.idle} --rounds {options.rounds} --steps {options.steps}` on {machine()}: "
            f"SmolLM2-135M-Instruct, full, float32, packs of {options.max_length:,} tokens, one thread a rank. TRL without recompute.\n\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, rounds=3, steps=4)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with trl")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--accumulation", default="1", help="micro-batches of a rank in a step")
    parser.add_argument("--layouts", default="replicate", help="of replicate, shard1, shard2, shard3")
    parser.add_argument("--idle", default="spin", choices=["spin", "yield"])
    options = parser.parse_args()
    publish(describe(options) + table(measure(options)), options)


if __name__ == "__main__":
    main()
