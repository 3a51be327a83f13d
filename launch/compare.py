#!/usr/bin/env python3
"""compare.py BASE RUN TEST: prints answers of BASE and of the run's model side by side, and the held-out loss before and
after. Exits with 1 unless the loss fell by at least 20 %. Uses the standard library only."""
import json
import shutil
import subprocess
import sys
import textwrap

base, run, test = sys.argv[1:4]
NUM_PROMPTS, MIN_FALL = 3, 0.20


def generate(model, prompt):
    command = ["hone", "generate", model, "--chat", "--prompt", prompt, "--greedy", "--max-new-tokens", "48"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def print_columns(left, right):
    width = min(shutil.get_terminal_size((120, 20)).columns, 140) // 2 - 3
    rows = [[line for part in text.splitlines() or [""] for line in textwrap.wrap(part, width) or [""]]
            for text in (left, right)]
    for i in range(max(map(len, rows))):
        cells = [column[i] if i < len(column) else "" for column in rows]
        print(f"  {cells[0]:<{width}} | {cells[1]}")


def held_out_losses():
    with open(f"{run}/metrics.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    losses = [row["eval_loss"] for row in rows if "eval_loss" in row]
    return losses[0], losses[-1]


with open(test, encoding="utf-8") as file:
    rows = [json.loads(line) for line in file]
for row in rows[:: max(1, len(rows) // NUM_PROMPTS)][:NUM_PROMPTS]:
    prompt = next(m["content"] for m in row["messages"] if m["role"] == "user")
    wanted = next(m["content"] for m in row["messages"] if m["role"] == "assistant")
    print(f"\n\033[1m{prompt}\033[0m\n  \033[2mreference: {wanted}\033[0m")
    print_columns("BEFORE\n" + generate(base, prompt), "AFTER\n" + generate(run, prompt))

before, after = held_out_losses()
fall = 1 - after / before
print(f"\nheld-out loss: {before:.4f} before, {after:.4f} after: {100 * fall:.0f} % lower")
if fall < MIN_FALL:
    sys.exit(f"the held-out loss had to fall by at least {100 * MIN_FALL:.0f} %")
