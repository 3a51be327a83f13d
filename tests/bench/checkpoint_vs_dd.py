#!/usr/bin/env python3
"""Saving and loading checkpoints against `dd` of the same bytes in the same folder, in turns.

  tests/bench/checkpoint_vs_dd.py --bin build/bin --model FOLDER [--ranks 1,2] [--layouts replicate,shard3] [--rounds 3]
                                  [--steps 2] [--folder DIR] [--markdown FILE]

FOLDER: SmolLM2-135M-Instruct in Hugging Face layout. Full fine-tuning in float32 saves a checkpoint (weights and two moments, about
1.6 GB) after every step. Save: bytes over seconds of each entry of `saves` in run.json (and over those in which it wrote) against
`dd if=/dev/zero bs=16M conv=fsync` of as many bytes into the same folder; the last save of a run has no training beside it.
Load: `--resume` of the finished run, `resume` in run.json, against `dd of=/dev/null bs=16M` of the same files one after another;
cold means that the files' pages were dropped from this machine's page cache (checked), a virtual machine's host may still have them.
The load's rate is also put over that of the round's dd with fsync.
Bytes are those of the checkpoint's files, whatever the number of ranks. A ratio is hone's rate over that of dd; the target is 0.8.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from free_memory import populate_free_memory
from two_sides import add_options, bench, layout_keys, machine, mpirun, publish, spread

TARGET = 0.8


def dd(*arguments):
    """Seconds."""
    start = time.perf_counter()
    subprocess.run(["dd", "bs=16M", *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def dd_write(folder, size):
    os.sync()
    populate_free_memory()  # the page cache takes of it
    file = folder / "dd"
    seconds = dd("if=/dev/zero", f"of={file}", f"count={size}", "iflag=count_bytes", "conv=fsync")
    file.unlink()
    return seconds


def dd_read(files):
    populate_free_memory()
    return sum(dd(f"if={file}", "of=/dev/null") for file in files)


def resident_bytes(files):
    found = subprocess.run(["fincore", "--bytes", "--noheadings", "--output", "RES", *files], check=True, capture_output=True, text=True)
    return sum(map(int, found.stdout.split()))


def drop_from_cache(files):
    os.sync()
    for file in files:
        with open(file, "rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident_bytes(files) > 0.01 * total(files):
        sys.exit("the checkpoint's pages can't be dropped from the page cache here: no cold figures")


def warm_up(files):
    for file in files:
        dd(f"if={file}", "of=/dev/null")


def total(files):
    return sum(file.stat().st_size for file in files)


def check_bytes(reported, size, what):
    if abs(reported / size - 1) > 0.01:
        print(f"note: run.json has {reported:,} bytes for the {what}, the checkpoint's files have {size:,}", flush=True)


def saves(runs, launcher, keys):
    """Rates in bytes a second, one entry a save: (step, whole save, writing alone, dd)."""
    info = runs.hone(launcher, save_steps=1, **keys)["info"]
    rates = []
    for save in info["saves"]:
        size = total(files_of(runs.work / "hone" / f"checkpoint-{save['step']}"))
        check_bytes(save["bytes"], size, "save")
        rates.append((save["step"], size / save["seconds"], size / save["write_seconds"], size / dd_write(runs.work, size)))
    return rates


def files_of(checkpoint):
    return sorted(file for file in Path(checkpoint).rglob("*") if file.is_file())


def loads(runs, launcher, keys, prepare):
    """Rates in bytes a second: (hone, dd)."""
    files = [file for file in files_of(runs.work / "hone" / f"checkpoint-{runs.options.steps}") if file.suffix == ".safetensors"]
    prepare(files)
    resume = runs.hone(launcher, ["--resume"], keep=True, save_steps=1, **keys)["info"]["resume"]
    check_bytes(resume["bytes"], total(files), "load")
    prepare(files)
    return total(files) / resume["seconds"], total(files) / dd_read(files)


def measure(options):
    """(ranks, layout, what) -> list of (rate of hone, rate of dd)."""
    found = {}

    def add(ranks, layout, what, hone, reference):
        found.setdefault((ranks, layout, what), []).append((hone, reference))
        print(f"{ranks} ranks {layout} {what}: {hone / 1e6:.0f} MB/s, dd {reference / 1e6:.0f} MB/s, {hone / reference:.2f}x", flush=True)

    cases = [(ranks, layout) for ranks in map(int, options.ranks.split(","))
             for layout in (options.layouts.split(",") if ranks > 1 else ["alone"])]
    with bench(options, threads=1, folder=options.folder) as runs:
        for number in range(options.rounds):
            print(f"round {number + 1}", flush=True)
            for ranks, layout in cases:
                launcher = mpirun(ranks) if ranks > 1 else []
                keys = {"global_batch_size": ranks, **(layout_keys(layout, ranks) if ranks > 1 else {})}
                saved = saves(runs, launcher, keys)
                fsync = statistics.median(reference for *_, reference in saved)
                for step, whole, writing, reference in saved:
                    when = "save, training beside it" if step < options.steps else "save after the last step"
                    add(ranks, layout, when, whole, reference)
                    add(ranks, layout, f"{when}: its writing", writing, reference)
                for state, prepare in (("cold", drop_from_cache), ("warm", warm_up)):
                    hone, reference = loads(runs, launcher, keys, prepare)
                    add(ranks, layout, f"load, {state}", hone, reference)
                    add(ranks, layout, f"load, {state}: over dd with fsync", hone, fsync)
    return found


def table(found):
    lines = ["| ranks | layout | what | hone MB/s | dd MB/s | ratio |", "|---|---|---|---:|---:|---|"]
    for key, pairs in found.items():
        hone, reference = (statistics.median(side) / 1e6 for side in zip(*pairs))
        lines.append(f"| {' | '.join(map(str, key))} | {hone:.0f} | {reference:.0f} | {spread([a / b for a, b in pairs])} |")
    return "\n".join(lines) + f"\n\nTarget: at least {TARGET} of dd's rate.\n"


def describe(options, folder_type):
    return (f"`tests/bench/checkpoint_vs_dd.py --bin build/bin --model FOLDER --ranks {options.ranks} --layouts {options.layouts} "
            f"--rounds {options.rounds} --steps {options.steps}` on {machine()}, {folder_type}: SmolLM2-135M-Instruct, full, float32, "
            "one thread a rank.\n\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, rounds=3, steps=2, max_length=128)
    parser.add_argument("--ranks", default="1,2")
    parser.add_argument("--layouts", default="replicate", help="of replicate, shard1, shard2, shard3")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="on the disk to be measured")
    options = parser.parse_args()
    disk = subprocess.run(["stat", "-f", "-c", "%T", options.folder], check=True, capture_output=True, text=True).stdout.strip()
    if disk == "tmpfs":
        sys.exit(f"{options.folder} is memory, not a disk")
    publish(describe(options, disk) + table(measure(options)), options)


if __name__ == "__main__":
    main()
