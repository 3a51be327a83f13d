#!/usr/bin/env python3
"""Makes smollm2/golden.safetensors: logits of SmolLM2-135M-Instruct in float64, and how far transformers' float32 is from them.

Usage: make_smollm2.py FOLDER      (the model in Hugging Face layout, as `hone import` writes it)
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
import transformers
from safetensors.torch import save_file

import exact
import packed

OUT = Path(__file__).resolve().parent / "smollm2"
TEXTS = [
    "<|im_start|>user\nIn which Debian section is the package vim and what does it do?<|im_end|>\n<|im_start|>assistant\n"
    "vim is in section editors. It is described as: Vi IMproved - enhanced vi editor.<|im_end|>\n",
    "A",
    "Debian is a complete free operating system. The stable release 12 holds about 64,000 packages, from 3.14 to 10^9, in main; "
    "every one of them has a section, a synopsis and a maintainer.\n\nfor (int i = 0; i < 10; ++i) {\n  total += values[i];\n}\n"
    "El paquete está listo. Пакет готов. 软件包 🙂 " * 2,
]
NUM_ROWS, NUM_COLUMNS = 64, 256


def main():
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    documents = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    cu = [0]
    for document in documents:
        cu.append(cu[-1] + len(document))
    batch = {
        "input_ids": torch.tensor(sum(documents, [])),
        "position_ids": torch.cat([torch.arange(len(d)) for d in documents]),
        "labels": torch.tensor(sum((d[1:] + [-100] for d in documents), [])),
        "cu_doc_lens": torch.tensor(cu, dtype=torch.int32),
    }
    count = int((batch["labels"] != -100).sum())

    def load(attention):
        return transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation=attention, dtype=torch.float32).eval()

    logits = {}
    with torch.no_grad():
        for attention in ("eager", "sdpa"):
            logits[attention] = packed.logits_by_document(load(attention), batch)
        model = load("eager")
        with exact.float64():
            reference = packed.logits_by_document(exact.to_float64(model), batch)

    generator = torch.Generator().manual_seed(1)
    rows = torch.randperm(len(batch["input_ids"]), generator=generator)[:NUM_ROWS].sort().values
    columns = torch.randperm(reference.shape[1], generator=generator)[:NUM_COLUMNS].sort().values
    golden = dict(batch)
    golden["rows"], golden["columns"] = rows, columns
    golden["logits_float64"] = reference[rows][:, columns].contiguous()
    golden["loss_float64"] = packed.sum_nll(reference, batch["labels"]) / count
    for name, value in logits.items():
        error = (value.double() - reference).abs()
        part = error[rows][:, columns]
        golden[f"{name}_max_error"] = error.max()
        golden[f"{name}_max_error_selected"] = part.max()
        golden[f"{name}_rms_error_selected"] = part.square().mean().sqrt()
        golden[f"{name}_loss_float32"] = packed.sum_nll(value, batch["labels"]) / count
        print(name, *(f"{k}={golden[name + '_' + k].item():.3e}" for k in ("max_error", "max_error_selected", "rms_error_selected")),
              f"loss off by {abs(golden[name + '_loss_float32'] - golden['loss_float64']).item():.2e}")
    print(len(batch["input_ids"]), "tokens, loss", golden["loss_float64"].item(), "logits up to", reference.abs().max().item())
    OUT.mkdir(exist_ok=True)
    save_file({k: v.clone() for k, v in golden.items()}, OUT / "golden.safetensors")


if __name__ == "__main__":
    main()
