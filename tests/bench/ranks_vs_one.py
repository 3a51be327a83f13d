#!/usr/bin/env python3
"""Full fine-tuning on N ranks of one thread against one rank of one thread: the same packs in the same global batch, in turns.

  tests/bench/ranks_vs_one.py --bin build/bin --model FOLDER [--ranks 2] [--accumulation 1,4] [--rounds 3] [--steps 3]
                              [--layouts replicate,shard1,shard2,shard3] [--idle spin,yield] [--markdown FILE]

FOLDER: SmolLM2-135M-Instruct in Hugging Face layout. float32, packs of 1,024 tokens, one pack a micro-batch, `accumulation`
micro-batches a rank and step, `mpirun --bind-to none`, OMP_NUM_THREADS=1 on both sides. --idle: how a waiting rank waits
(`--mca mpi_yield_when_idle` 0 or 1). Reported: tokens/s of all ranks together (median over the steps after the first, then over
rounds), the ratio in each round, the share of the steps' time in which a rank waited for others or moved data without computing,
peak resident memory of every rank. Both sides must have trained on the same number of tokens in each step and lost the same
(to 1e-3): else it was not the same work.
"""

import argparse
import statistics

from two_sides import add_options, bench, check_same_work, gigabytes, layout_keys, machine, mpirun, once, publish, rate, spread

TARGETS = {(2, 1): 1.8, (2, 4): 1.9}  # (ranks, accumulation) -> times the tokens/s of one rank


def one_rank(runs, ranks, accumulation):
    return runs.hone(global_batch_size=ranks * accumulation)


def many_ranks(runs, ranks, accumulation, layout, idle):
    return runs.hone(mpirun(ranks, idle), global_batch_size=ranks * accumulation, **layout_keys(layout, ranks))


def measure(options):
    """(accumulation, layout, idle) -> list of pairs (one rank, many ranks), a round each."""
    pairs = {}
    measure_once = once(options.results)
    with bench(options, threads=1) as runs:
        for number in range(options.rounds):
            for accumulation in map(int, options.accumulation.split(",")):
                one = measure_once([number, accumulation, "one"], one_rank, runs, options.ranks, accumulation)
                print(f"round {number + 1} accumulation {accumulation} one rank: {rate(one):.0f} tokens/s, "
                      f"{gigabytes(one['rank_memory'])}, losses {[round(x, 3) for x in one['losses']]}", flush=True)
                for layout in options.layouts.split(","):
                    for idle in options.idle.split(","):
                        key = (accumulation, layout, idle)
                        many = measure_once([number, *key], many_ranks, runs, options.ranks, *key)
                        check_same_work(one, many, key, bound=1e-3)
                        pairs.setdefault(key, []).append((one, many))
                        print(f"round {number + 1} accumulation {accumulation} {layout} {idle}: {rate(many):.0f} tokens/s, "
                              f"{rate(many) / rate(one):.2f}x, {gigabytes(many['rank_memory'])}", flush=True)
    return pairs


def table(pairs, options):
    lines = [f"| accumulation | layout | idle | one rank | {options.ranks} ranks | ratio | each round | target | "
             "exposed communication | memory of one rank | of each of the ranks |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    for (accumulation, layout, idle), rounds in pairs.items():
        ratios = [rate(many) / rate(one) for one, many in rounds]
        target = TARGETS.get((options.ranks, accumulation))
        exposed = [many["exposed"] for _, many in rounds if many["exposed"] is not None]
        ranks = [statistics.median(sizes) for sizes in zip(*(many["rank_memory"] for _, many in rounds))]
        lines.append(
            f"| {accumulation} | {layout} | {idle} | {statistics.median(rate(one) for one, _ in rounds):.0f} tokens/s | "
            f"{statistics.median(rate(many) for _, many in rounds):.0f} tokens/s | {spread(ratios)} | "
            f"{', '.join(f'{x:.2f}' for x in ratios)} | {target or ''} | {spread(exposed, '.1%') if exposed else ''} | "
            f"{gigabytes([statistics.median(one['memory'] for one, _ in rounds)])} | {gigabytes(ranks)} |")
    return "\n".join(lines) + "\n"


def describe(options):
    return (f"`tests/bench/ranks_vs_one.py --bin build/bin --model FOLDER --ranks {options.ranks} --accumulation {options.accumulation} "
            f"--layouts {options.layouts} --idle {options.idle} --rounds {options.rounds} --steps {options.steps}` on {machine()}: "
            f"SmolLM2-135M-Instruct, full, float32, packs of {options.max_length:,} tokens, one thread a rank.\n\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, rounds=3, steps=3)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--accumulation", default="1,4", help="micro-batches of a rank in a step")
    parser.add_argument("--layouts", default="replicate", help="of replicate, shard1, shard2, shard3")
    parser.add_argument("--idle", default="spin", help="of spin, yield")
    options = parser.parse_args()
    publish(describe(options) + table(measure(options), options), options)


if __name__ == "__main__":
    main()
