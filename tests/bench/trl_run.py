#!/usr/bin/env python3
"""One SFTTrainer run on this machine's CPU, timed from inside. Called through two_sides.py, alone or by torchrun on many ranks
(gloo; rank 0 writes: tokens of all ranks, seconds of the slowest).

Usage: trl_run.py '{"model", "data", "method", "dtype", "max_length", "accumulation", "steps", "threads", "out", "recompute"}'
Writes {"seconds": [...], "tokens": [...], "losses": [...], "startup_seconds", "rank_memory": [bytes of each rank]} to `out`.
"""

import json
import os
import resource
import sys
import tempfile
import time


def seconds_since_process_start():
    with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
        ticks = int(stat.read().rsplit(")", 1)[1].split()[19])
        return float(uptime.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")


def gathered(value, num_ranks):
    """The value of each rank, on every rank."""
    if num_ranks == 1:
        return [value]
    from torch import distributed

    values = [None] * num_ranks
    distributed.all_gather_object(values, value)
    distributed.destroy_process_group()
    return values


def main():
    num_ranks, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    options = json.loads(sys.argv[1])
    import torch
    import transformers
    from datasets import load_dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(options["threads"])
    report = {"seconds": [], "tokens": [], "losses": [], "startup_seconds": None}

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            self.started = time.perf_counter()

        def on_step_end(self, args, state, control, **kwargs):
            report["seconds"].append(time.perf_counter() - self.started)

        def on_log(self, args, state, control, logs=None, **kwargs):
            if "loss" in (logs or {}):
                report["losses"].append(float(logs["loss"]))

    model = transformers.AutoModelForCausalLM.from_pretrained(options["model"], dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(options["model"])
    data = load_dataset("json", data_files=options["data"], split="train").select_columns(["messages"])
    lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    # The Trainer would have DDP look for unused parameters in every step; there are none.
    over_ranks = {"ddp_backend": "gloo", "ddp_find_unused_parameters": False} if num_ranks > 1 else {}
    with tempfile.TemporaryDirectory() as output:
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=output, max_length=options["max_length"], packing=True, per_device_train_batch_size=1,
                gradient_accumulation_steps=options["accumulation"], max_steps=options["steps"], learning_rate=2e-4,
                lr_scheduler_type="cosine", warmup_steps=1, weight_decay=0.0, max_grad_norm=1.0, logging_steps=1,
                save_strategy="no", report_to=[], use_cpu=True, bf16=options["dtype"] == "bfloat16",
                gradient_checkpointing=options["recompute"], seed=42, disable_tqdm=True, **over_ranks),
            train_dataset=data,
            processing_class=tokenizer,
            peft_config=lora if options["method"] == "lora" else None,
            callbacks=[Clock()],
        )

        def first_forward(module, arguments, keywords):
            if report["startup_seconds"] is None:
                report["startup_seconds"] = seconds_since_process_start()

        trainer.model.register_forward_pre_hook(first_forward, with_kwargs=True)
        step = trainer.training_step
        counts = []

        def counted_step(model, inputs, *arguments, **keywords):
            counts.append(int(inputs["input_ids"].numel()))
            return step(model, inputs, *arguments, **keywords)

        trainer.training_step = counted_step
        trainer.train()
    group = options["accumulation"]
    own = {"tokens": [sum(counts[i : i + group]) for i in range(0, len(counts), group)], "seconds": report["seconds"],
           "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    ranks = gathered(own, num_ranks)
    report["tokens"] = [sum(step) for step in zip(*(r["tokens"] for r in ranks))]
    report["seconds"] = [max(step) for step in zip(*(r["seconds"] for r in ranks))]
    report["rank_memory"] = [r["memory"] for r in ranks]
    if rank == 0:
        with open(options["out"], "w") as out:
            json.dump(report, out)


if __name__ == "__main__":
    main()
