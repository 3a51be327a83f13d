#!/usr/bin/env python3
"""What a rank keeps of parameters, gradients and optimizer state at each level of sharding, against a part of what one rank keeps.

  tests/bench/shard_bytes.py --bin build/bin --model FOLDER [--ranks 4] [--levels 1,2,3] [--markdown FILE]

FOLDER: SmolLM2-135M-Instruct in Hugging Face layout. One step of full fine-tuning in float32 on one rank and on `ranks` ranks
(`mpirun --oversubscribe`, one thread each); bytes are those of run.json. Level 3 must be within 5 % of 1/ranks of one rank's sum on
every rank: exit code 1 if it is not. At level 1 optimizer state is shared out, at level 2 gradients too.
"""

import argparse
import sys

from two_sides import add_options, bench, gigabytes, layout_keys, machine, mpirun, once, publish

PARTS = ("param_bytes", "grad_bytes", "optimizer_bytes")
SHARED_OUT = {1: {"optimizer_bytes"}, 2: {"grad_bytes", "optimizer_bytes"}, 3: set(PARTS)}
BOUND = 0.05


def kept_bytes(runs, launcher, **keys):
    """One row a rank: [param, grad, optimizer] bytes; and the peak memory of the ranks."""
    result = runs.hone(launcher, **keys)
    return {"rows": list(zip(*(result["info"][part] for part in PARTS), strict=True)), "memory": result["rank_memory"]}


def measure(options):
    """level -> kept_bytes, 0 being one rank alone."""
    measure_once = once(options.results)
    found = {}
    with bench(options, threads=1) as runs:
        for level in [0, *map(int, options.levels.split(","))]:
            layout = layout_keys(f"shard{level}", options.ranks) if level else {}
            launcher = mpirun(options.ranks) if level else []
            found[level] = measure_once([level], kept_bytes, runs, launcher, global_batch_size=options.ranks, **layout)
            if len(found[level]["rows"]) != (options.ranks if level else 1):
                sys.exit(f"level {level}: run.json has the bytes of {len(found[level]['rows'])} ranks")
            print(f"level {level}: {gigabytes(sum(row) for row in found[level]['rows'])} kept, peak {gigabytes(found[level]['memory'])}",
                  flush=True)
    return found


def table(found, ranks):
    """The lines, and whether level 3 holds what it promises."""
    one = dict(zip(PARTS, found[0]["rows"][0]))
    part = sum(one.values()) / ranks
    peak = gigabytes(found[0]["memory"])
    lines = [f"One rank alone keeps {sum(one.values()):,} bytes, 1/{ranks} of it is {part:,.0f}; peak {peak}.", "",
             f"| level | rank | parameters | gradients | optimizer | sum | over 1/{ranks} of one rank | if shared out evenly "
             "| peak memory |",
             "|---|---|---:|---:|---:|---:|---:|---:|---:|"]
    holds = True
    for level, result in found.items():
        if level == 0:
            continue
        even = sum(size / (ranks if name in SHARED_OUT[level] else 1) for name, size in one.items())
        for rank, row in enumerate(result["rows"]):
            holds = holds and (level != 3 or abs(sum(row) / part - 1) <= BOUND)
            sizes = " | ".join(f"{size:,}" for size in row)
            lines.append(f"| {level} | {rank} | {sizes} | {sum(row):,} | {sum(row) / part:.3f} | {even / part:.3f} | "
                         f"{gigabytes([result['memory'][rank]])} |")
    if 3 in found:
        lines += ["", f"Level 3 is {'' if holds else 'NOT '}within {BOUND:.0%} of 1/{ranks} on every rank."]
    return "\n".join(lines) + "\n", holds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, rounds=1, steps=1, max_length=128)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--levels", default="1,2,3")
    options = parser.parse_args()
    text, holds = table(measure(options), options.ranks)
    publish(f"`tests/bench/shard_bytes.py --bin build/bin --model FOLDER --ranks {options.ranks}` on {machine()}:\n\n{text}", options)
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
