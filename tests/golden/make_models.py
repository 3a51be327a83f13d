#!/usr/bin/env python3
"""Makes models/<name>/: tiny random checkpoints with the logits, loss and gradients transformers and peft give for them.

Usage: make_models.py [NAME...]      (none: all, and the training curves)
"""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

import exact
import packed

HERE = Path(__file__).resolve().parent
DOC_LENGTHS = [17, 1, 5, 30, 2, 9]

COMMON = {
    "vocab_size": 160,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
MODELS = {
    "llama": ("llama", {"tie_word_embeddings": True, "rms_norm_eps": 1e-5}),
    "llama_untied_llama3rope": (
        "llama",
        {"rope_parameters": {"rope_theta": 500000.0, **LLAMA3_ROPE}, "max_position_embeddings": 256},
    ),
    "llama_gqa_bias": (
        "llama",
        {
            "hidden_size": 48,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "vocab_size": 161,
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": True,
        },
    ),
    "mistral": ("mistral", {"sliding_window": 8, "num_key_value_heads": 1}),
    "qwen2": (
        "qwen2",
        {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}},
    ),
    "qwen2_window": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1, "hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 3},
    ),
    "qwen3": (
        "qwen3",
        {"hidden_size": 48, "head_dim": 24, "num_attention_heads": 4, "tie_word_embeddings": True},
    ),
    "llama_sharded": ("llama", {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 1}),
}
# Written as transformers 4 wrote them: rope_theta, rope_scaling, torch_dtype, and no layer_types.
OLD_DIALECT = {"llama_untied_llama3rope", "qwen2_window", "llama_gqa_bias"}


def randomise(model, generator):
    """Weights large enough that every part matters; norms around 1, biases not zero."""
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        if p.dim() == 1:
            p.data = 0.2 * noise + (1.0 if "norm" in name else 0.0)
        else:
            p.data = noise * (0.25 if "embed_tokens" in name or "lm_head" in name else 0.12)


def to_old_dialect(path):
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config.pop("layer_types", None)
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope if rope["rope_type"] != "default" else None
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.51.3"
    path.write_text(json.dumps(config, indent=2) + "\n")


def load(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    )
    return model.eval()


def run(model, batch, name_of):
    """Logits, loss and gradients of the trainable parameters, document by document in float32."""
    model.zero_grad()
    logits = packed.logits_by_document(model, batch)
    count = int((batch["labels"] != -100).sum())
    loss = packed.sum_nll(logits, batch["labels"]) / count
    loss.backward()
    out = dict(batch)
    out["logits"] = logits.detach()
    out["loss"] = loss.detach()
    for name, p in model.named_parameters():
        if p.requires_grad:
            out["grad." + name_of(name)] = p.grad.contiguous()
    return out


def check_against_float64(folder, batch, logits):
    model = load(folder)
    with exact.float64(), torch.no_grad():
        reference = packed.logits_by_document(exact.to_float64(model), batch)
    error = (reference - logits.double()).abs().max().item()
    assert error < 2e-5, (folder, error)
    return error


def adapter_key(name):
    """The key peft writes for a parameter of the wrapped model."""
    for piece in (".modules_to_save.default", ".default"):
        name = name.replace(piece, "")
    return name


def make_adapter(folder, suffix, batch, generator, **config):
    model = get_peft_model(load(folder), LoraConfig(task_type="CAUSAL_LM", **config))
    for name, p in model.named_parameters():
        if p.requires_grad:
            p.data = p.data + 0.05 * torch.randn(p.shape, generator=generator)
    model.eval()
    golden = run(model, batch, adapter_key)
    adapter = folder / f"adapter{suffix}"
    model.save_pretrained(adapter)
    (adapter / "README.md").unlink()
    path = adapter / "adapter_config.json"
    settings = json.loads(path.read_text())
    settings["base_model_name_or_path"] = f"golden/{folder.name}"
    for key in ("target_modules", "modules_to_save"):  # written from a set: make the order fixed
        if isinstance(settings.get(key), list):
            settings[key] = sorted(settings[key])
    path.write_text(json.dumps(settings, indent=2) + "\n")
    saved = load_file(adapter / "adapter_model.safetensors")
    grads = {k[5:] for k in golden if k.startswith("grad.")}
    assert grads <= set(saved), sorted(grads - set(saved))
    extra = sorted(set(saved) - grads)
    save_file(golden, folder / f"golden_lora{suffix}.safetensors")
    print(f"  adapter{suffix}: {len(grads)} tensors; also in the file: {extra}")


def make_model(name, seed):
    family, options = MODELS[name]
    folder = HERE / "models" / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    config = transformers.AutoConfig.for_model(family, **{**COMMON, **options})
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    randomise(model, generator)
    model.save_pretrained(folder, **({"max_shard_size": "90KB"} if name == "llama_sharded" else {}))
    (folder / "generation_config.json").unlink()
    if name in OLD_DIALECT:
        to_old_dialect(folder / "config.json")
    batch = packed.make_packed(DOC_LENGTHS, config.vocab_size, generator)
    golden = run(load(folder), batch, lambda n: n)
    error = check_against_float64(folder, batch, golden["logits"])
    save_file(golden, folder / "golden.safetensors")
    size = sum(p.numel() for p in model.parameters())
    print(f"{name}: {size} parameters, loss {golden['loss']:.4f}, float32 error {error:.1e}")

    make_adapter(folder, "", batch, generator, r=4, lora_alpha=8, target_modules="all-linear")
    if name == "llama":
        make_adapter(folder, "_embed", batch, generator, r=4, lora_alpha=8, use_rslora=True,
                     target_modules=["q_proj", "embed_tokens"], modules_to_save=["input_layernorm"])
    if name == "llama_untied_llama3rope":
        make_adapter(folder, "_head", batch, generator, r=4, lora_alpha=8, use_rslora=True,
                     target_modules=["q_proj", "embed_tokens", "lm_head"])
        make_adapter(folder, "_save", batch, generator, r=2, lora_alpha=4,
                     target_modules=r"model\.layers\.1\..*\.(q|v)_proj",
                     modules_to_save=["embed_tokens", "lm_head"])


# ---- training curves

NUM_STEPS, ACCUMULATION = 20, 2
RECIPE = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}


def make_batches():
    generator = torch.Generator().manual_seed(7)
    # A fixed pattern in the text, so that there is something to learn.
    micro_batches = []
    for i in range(NUM_STEPS * ACCUMULATION):
        lengths = [int(x) for x in torch.randint(1, 16, (4,), generator=generator)] + [8]
        batch = packed.make_packed(lengths, 40, generator, masked=0.2 if i % 2 else 0.5)
        micro_batches.append(batch)
    return micro_batches


def train(model, micro_batches):
    """AdamW on every trainable parameter (decay on all), clipping at 1, cosine with 3 warm-up steps."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, **RECIPE)
    schedule = transformers.get_scheduler("cosine", optimizer, num_warmup_steps=3, num_training_steps=NUM_STEPS)
    losses, norms, rates = [], [], []
    for step in range(NUM_STEPS):
        group = micro_batches[step * ACCUMULATION : (step + 1) * ACCUMULATION]
        count = sum(int((b["labels"] != -100).sum()) for b in group)
        total = 0.0
        for batch in group:
            loss = packed.sum_nll(packed.logits_by_document(model, batch), batch["labels"]) / count
            loss.backward()
            total += loss.item()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, 1.0).item())
        rates.append(schedule.get_last_lr()[0])
        losses.append(total)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    as_tensor = lambda values: torch.tensor(values, dtype=torch.double)
    return as_tensor(losses), as_tensor(norms), as_tensor(rates)


def make_curves():
    out = HERE / "curves"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    micro_batches = make_batches()
    flat = {k: torch.cat([b[k] for b in micro_batches]) for k in ("input_ids", "position_ids", "labels", "cu_doc_lens")}
    flat["num_tokens"] = torch.tensor([len(b["input_ids"]) for b in micro_batches])
    flat["num_docs"] = torch.tensor([len(b["cu_doc_lens"]) - 1 for b in micro_batches])
    save_file(flat, out / "batches.safetensors")

    from peft import PeftModel

    def full(name):
        return lambda: load(HERE / "models" / name).train()

    def lora():
        folder = HERE / "models" / "llama"
        return PeftModel.from_pretrained(load(folder), folder / "adapter", is_trainable=True).train()

    for run_name, build in {"llama_full": full("llama"), "qwen3_full": full("qwen3"), "llama_lora": lora}.items():
        torch.manual_seed(0)
        loss32, norm32, rates = train(build(), micro_batches)
        model = build()
        with exact.float64():
            loss64, norm64, _ = train(exact.to_float64(model), micro_batches)
        curve = {"loss_float64": loss64, "grad_norm_float64": norm64, "loss_float32": loss32,
                 "grad_norm_float32": norm32, "learning_rate": rates}
        save_file(curve, out / f"{run_name}.safetensors")
        gap = ((loss32 - loss64) / loss64).abs().max().item()
        gap_norm = ((norm32 - norm64) / norm64).abs().max().item()
        print(f"{run_name}: loss {loss64[0]:.4f} -> {loss64[-1]:.4f}; float32 off by {gap:.1e}, norm by {gap_norm:.1e}")


def main():
    torch.set_num_threads(1)
    names = sys.argv[1:] or list(MODELS)
    for name in names:
        make_model(name, 1000 + list(MODELS).index(name))
    if len(sys.argv) == 1:
        make_curves()


if __name__ == "__main__":
    main()
