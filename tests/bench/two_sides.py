"""What the training benchmarks share: both sides of a comparison (hone alone or under mpirun, TRL's SFTTrainer alone or under
torchrun) started on the same work, their peak memory, what they reported, ratios with their spread, the machine."""

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from free_memory import populate_free_memory

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = {"recipe": "sft", "dtype": "float32", "packing": True, "micro_batch_size": 1, "learning_rate": 2e-4,
          "lr_scheduler_type": "cosine", "warmup_steps": 1, "seed": 42, "logging_steps": 1}
LORA = {"type": "lora", "r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear"}


def layout_keys(name, ranks):
    """Recipe keys of `replicate` or of `shard1` to `shard3` over all ranks."""
    if name == "replicate":
        return {"dp_replicate_size": ranks}
    return {"dp_shard_size": ranks, "dp_shard_level": int(name.removeprefix("shard"))}


def mpirun(ranks, idle="spin"):
    """Both ways for a rank to wait are asked for by name: with more ranks than cores Open MPI would choose by itself."""
    crowded = ["--oversubscribe"] if ranks > len(os.sched_getaffinity(0)) else []
    return ["mpirun", "-np", ranks, "--bind-to", "none", *crowded, "--mca", "mpi_yield_when_idle", int(idle == "yield")]


def run(command, environment, log, limit=3600):
    """Peak resident memory in bytes of the command, which must succeed within `limit` seconds: the kernel's figure for the
    largest of its process and those it started and waited for, so under a launcher that of the fullest rank."""
    populate_free_memory()
    with open(log, "w") as out:
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=subprocess.STDOUT, env=environment)
        timer = threading.Timer(limit, os.kill, (process.pid, signal.SIGTERM))
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {process.returncode}\n{Path(log).read_text()[-3000:]}")
    return usage.ru_maxrss * 1024


@dataclasses.dataclass
class Bench:
    """Runs of either side in one folder. `memory` of a result is the fullest process, `rank_memory` a figure for each rank."""

    options: argparse.Namespace
    work: Path
    environment: dict

    def hone(self, launcher=(), arguments=(), keep=False, **keys):
        output = self.work / "hone"
        if not keep:
            shutil.rmtree(output, ignore_errors=True)
        keys = {**RECIPE, "model_name_or_path": str(self.options.model.resolve()), "max_length": self.options.max_length,
                "max_steps": self.options.steps, "output_dir": str(output),
                "datasets": [{"path": str(self.options.data.resolve()), "format": "messages"}], **keys}
        recipe = self.work / "recipe.yaml"
        recipe.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items()))
        command = [*launcher, self.options.bin.resolve() / "hone", "train", recipe, *arguments]
        memory = run(command, self.environment, self.work / "hone.log")
        rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        rows = [r for r in rows if "loss" in r]
        info = json.loads((output / "run.json").read_text())
        tokens = [b["tokens"] - a["tokens"] for a, b in zip([{"tokens": 0}, *rows], rows)]
        seconds = [t / r["tokens_per_second"] for t, r in zip(tokens, rows)]
        exposed = [r.get("exposed_comm_seconds", 0.0) for r in rows]
        return {"rates": [r["tokens_per_second"] for r in rows], "tokens": tokens, "losses": [r["loss"] for r in rows],
                "memory": memory, "startup": info.get("startup_seconds"), "info": info,
                "rank_memory": info["memory"].get("rank_peak_rss_bytes", [memory]),
                "exposed": sum(exposed[1:]) / sum(seconds[1:]) if len(rows) > 1 else None}

    def trl(self, ranks=1, **request):
        out = self.work / "trl.json"
        request = {"model": str(self.options.model.resolve()), "data": str(self.options.data.resolve()), "method": "full",
                   "dtype": "float32", "max_length": self.options.max_length, "steps": self.options.steps, "threads": 1,
                   "recompute": False, "out": str(out), **request}
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", ranks] if ranks > 1 else []
        command = [self.options.python, *torchrun, REPOSITORY / "tests/bench/trl_run.py", json.dumps(request)]
        memory = run(command, self.environment, self.work / "trl.log")
        report = json.loads(out.read_text())
        return {"rates": [t / s for t, s in zip(report["tokens"], report["seconds"])], "tokens": report["tokens"],
                "losses": report["losses"], "memory": memory, "rank_memory": report["rank_memory"],
                "startup": report["startup_seconds"]}


@contextlib.contextmanager
def bench(options, threads, folder=None):
    """A Bench in a new folder (in `folder`) with caches of its own, `threads` threads a process."""
    with tempfile.TemporaryDirectory(prefix="hone-bench-", dir=folder) as name:
        work = Path(name)
        yield Bench(options, work, {
            **os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(work / "hf"), "XDG_CACHE_HOME": str(work / "cache"),
            "HONE_HUB": str(work / "hub"), "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true",
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"})


def once(path):
    """measure(key, function, ...): the function's result, or the one kept under the key in the file by a call that was cut off."""
    done = [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []

    def measure(key, function, *arguments, **keywords):
        result = next((r for k, r in done if k == list(key)), None)
        if result is None:
            result = function(*arguments, **keywords)
            if path:
                with open(path, "a") as out:
                    out.write(json.dumps([key, result]) + "\n")
        return result

    return measure


def check_same_work(one, many, what, bound):
    """Ends the benchmark unless `many` trained on the tokens of `one` and lost the same, to `bound` of it."""
    apart = max(abs(a - b) / abs(a) for a, b in zip(one["losses"], many["losses"], strict=True))
    if one["tokens"] != many["tokens"] or apart > bound:
        sys.exit(f"{what}: not the work of one rank: tokens {many['tokens']}, not {one['tokens']}; "
                 f"losses {many['losses']}, not {one['losses']}")


def rate(result):
    """Tokens a second: the median over the steps after the first."""
    return statistics.median(result["rates"][1:] or result["rates"])


def spread(values, form=".2f"):
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def gigabytes(sizes):
    return ", ".join(f"{size / 1e9:.2f}" for size in sizes) + " GB"


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "")
    return f"{len(os.sched_getaffinity(0))} cores of {cpu} ({platform.machine()})"


def add_options(parser, rounds, steps, max_length=1024):
    parser.add_argument("--bin", type=Path, default=REPOSITORY / "build/bin")
    parser.add_argument("--model", type=Path, required=True, help="SmolLM2-135M-Instruct in Hugging Face layout")
    parser.add_argument("--data", type=Path, default=REPOSITORY / "configs/data/debian-packages/train.jsonl")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--max-length", type=int, default=max_length)
    parser.add_argument("--results", type=Path, help="keep each run's figures in this file, and take up from it")
    parser.add_argument("--markdown", type=Path, help="write the tables here too")


def publish(text, options):
    print("\n" + text)
    if options.markdown:
        options.markdown.write_text(text)
