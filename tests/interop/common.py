"""Running the built programs, and a tally of checks."""

import json
import os
import subprocess
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = REPOSITORY / "tests" / "golden"
# Ranks that may be more than the cores and reach each other on this machine alone; a hang is an error.
MPIRUN = ("timeout -k 5 120 mpirun --allow-run-as-root --oversubscribe --bind-to none --mca btl self,vader --mca oob_tcp_if_include lo "
          "--mca mpi_yield_when_idle 1").split()


class Checks:
    """Prints a line a check and remembers the failures."""

    def __init__(self):
        self.passed, self.failed = 0, []

    def expect(self, ok, name, detail=""):
        if ok:
            self.passed += 1
        else:
            self.failed.append(name)
        print(f"{'ok  ' if ok else 'FAIL'} {name}{': ' + str(detail) if detail != '' else ''}", flush=True)

    def near(self, ours, theirs, bound, name):
        gap = (ours.double() - theirs.double()).abs().max().item()
        self.expect(gap <= bound, name, f"largest difference {gap:.1e}, bound {bound:.0e}")


class Programs:
    def __init__(self, folder, work):
        self.folder, self.work = Path(folder).resolve(), Path(work)
        self.environment = {**os.environ, "HONE_HUB": str(self.work / "hub"), "XDG_CACHE_HOME": str(self.work / "cache")}

    def run(self, program, *arguments, cwd=None, ranks=1):
        command = [] if ranks == 1 else [*MPIRUN, "-np", str(ranks)]
        done = subprocess.run([*command, self.folder / program, *map(str, arguments)], cwd=cwd or self.work, env=self.environment,
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{program} {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def logits(self, model, adapter, batch):
        save_file({k: v.contiguous() for k, v in batch.items()}, self.work / "batch.safetensors")
        self.run("dump_logits", model, adapter or "-", self.work / "batch.safetensors", self.work / "logits.safetensors")
        return load_file(self.work / "logits.safetensors")["logits"]

    def text(self, folder, texts, chats):
        (self.work / "in.json").write_text(json.dumps({"texts": texts, "chats": chats}))
        self.run("dump_text", folder, self.work / "in.json", self.work / "out.json")
        return json.loads((self.work / "out.json").read_text())


def byte_offsets(text, spans):
    """Character ranges as byte ranges, begin and end in turn."""
    at = [0]
    for character in text:
        at.append(at[-1] + len(character.encode()))
    return [at[n] for span in spans for n in span]


def documents(lengths, vocab_size, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(0, vocab_size, (n,), generator=generator) for n in lengths]
    cu = torch.tensor([0] + [sum(lengths[: i + 1]) for i in range(len(lengths))], dtype=torch.int32)
    return {
        "input_ids": torch.cat(ids),
        "position_ids": torch.cat([torch.arange(n) for n in lengths]),
        "labels": torch.full((sum(lengths),), -100),
        "cu_doc_lens": cu,
    }
