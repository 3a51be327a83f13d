"""Learning rates of transformers' schedules, one a step: schedules.json beside this file.

$PYTHON tests/golden/trainer/make_schedules.py
"""

import json
import pathlib

import torch
import transformers
from transformers import get_scheduler

PEAK = 2e-4
CASES = [
    # name here, name in transformers, horizon, warm-up, steps written
    ("linear", "linear", 20, 0, 22),
    ("linear", "linear", 23, 5, 25),
    ("linear", "linear", 10, 10, 12),
    ("cosine", "cosine", 20, 0, 21),
    ("cosine", "cosine", 33, 4, 34),
    ("cosine", "cosine", 5, 1, 6),
    ("constant", "constant_with_warmup", 12, 0, 14),
    ("constant", "constant_with_warmup", 12, 3, 14),
    ("wsd", "warmup_stable_decay", 30, 3, 33),
    ("wsd", "warmup_stable_decay", 25, 0, 26),
]
WSD_DECAY_RATIO = 0.1


def rates(hf_name, horizon, warmup, num_steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    specific = {}
    if hf_name == "warmup_stable_decay":
        decay = -int(-WSD_DECAY_RATIO * horizon // 1)
        specific = {"num_decay_steps": decay, "decay_type": "linear"}
    scheduler = get_scheduler(
        hf_name, optimizer, num_warmup_steps=warmup, num_training_steps=horizon, scheduler_specific_kwargs=specific
    )
    values = []
    for _ in range(num_steps):
        values.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return values


def main():
    cases = [
        {"type": name, "horizon": horizon, "warmup_steps": warmup, "rates": rates(hf_name, horizon, warmup, steps)}
        for name, hf_name, horizon, warmup, steps in CASES
    ]
    golden = {"transformers": transformers.__version__, "learning_rate": PEAK,
              "wsd_decay_ratio": WSD_DECAY_RATIO, "cases": cases}
    path = pathlib.Path(__file__).with_name("schedules.json")
    path.write_text(json.dumps(golden, indent=1) + "\n")


main()
