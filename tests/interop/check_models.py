"""Folders that our programs write, loaded by transformers and peft."""

import json
import shutil
import sys

import torch
import transformers
from peft import PeftModel

from common import GOLDEN, REPOSITORY, documents

sys.path.insert(0, str(GOLDEN))
import packed

BOUND = 1e-4  # of logits that are a few units large
# family -> config options, tokenizer, template
FAMILIES = {
    "llama": ({"tie_word_embeddings": True, "rope_parameters": {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}}, "llama3", "llama3"),
    "mistral": ({"sliding_window": 16}, "mistral", "mistral"),
    "qwen2": ({"tie_word_embeddings": True}, "qwen2", "qwen2_5"),
    "qwen3": ({"head_dim": 24}, "qwen2", "qwen3_training"),
}
RECIPE = """recipe: sft
model_name_or_path: model
dtype: float32
datasets: [{{path: train.jsonl, format: messages}}]
max_length: 256
packing: true
assistant_only_loss: true
gradient_accumulation_steps: 2
learning_rate: 1.0e-2
max_steps: 3
seed: 7
output_dir: {output}
{more}"""
LORA = "adapter: {type: lora, r: 4, lora_alpha: 8, lora_dropout: 0.0, target_modules: all-linear}\n"


def make_base(folder, family):
    options, tokenizer, template = FAMILIES[family]
    torch.manual_seed(3)
    model_folder = folder / "model"
    shutil.copytree(GOLDEN / "text" / "tokenizers" / tokenizer, model_folder)
    shutil.copyfile(GOLDEN / "text" / "templates" / f"{template}.jinja", model_folder / "chat_template.jinja")
    vocabulary = len(transformers.AutoTokenizer.from_pretrained(model_folder))
    config = transformers.AutoConfig.for_model(
        family, vocab_size=vocabulary, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.1, bos_token_id=1, eos_token_id=2, **options)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(model_folder)
    rows = (REPOSITORY / "configs/data/debian-packages/test.jsonl").read_text().splitlines()[:40]
    (folder / "train.jsonl").write_text("\n".join(rows) + "\n")
    for output, more in (("full", ""), ("lora", LORA)):
        (folder / f"{output}.yaml").write_text(RECIPE.format(output=output, more=more))
    return vocabulary


def load(folder):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    return model.eval(), info


@torch.no_grad()
def their_logits(model, batch):
    return packed.logits_by_document(model, batch)


def check_tokenizer(checks, name, base, output):
    ours, theirs = transformers.AutoTokenizer.from_pretrained(output), transformers.AutoTokenizer.from_pretrained(base)
    texts = json.loads((GOLDEN / "text" / "texts.json").read_text())
    same = all(ours(t)["input_ids"] == theirs(t)["input_ids"] for t in texts)
    checks.expect(same and ours.chat_template == theirs.chat_template, f"{name}: tokenizer and template of the output are its input's")


def check_family(checks, programs, family):
    folder = programs.work / family
    folder.mkdir()
    vocabulary = make_base(folder, family)
    batch = documents([33, 1, 20], vocabulary, seed=11)
    base, _ = load(folder / "model")
    before = their_logits(base, batch)

    programs.run("hone", "train", "full.yaml", cwd=folder)
    model, info = load(folder / "full")
    checks.expect(not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"],
                  f"{family}: every key of the fully tuned folder loads")
    theirs = their_logits(model, batch)
    checks.near(programs.logits(folder / "full", None, batch), theirs, BOUND, f"{family}: full fine-tuning, logits")
    checks.expect((theirs - before).abs().max() > 100 * BOUND, f"{family}: full fine-tuning changed the model")
    check_tokenizer(checks, family, folder / "model", folder / "full")

    programs.run("hone", "train", "lora.yaml", cwd=folder)
    adapted = PeftModel.from_pretrained(base, folder / "lora").eval()
    theirs = their_logits(adapted, batch)
    checks.near(programs.logits(folder / "model", folder / "lora", batch), theirs, BOUND, f"{family}: adapter in peft, logits")
    checks.expect((theirs - before).abs().max() > 100 * BOUND, f"{family}: the adapter changed the model")

    programs.run("hone", "merge", "lora", "--output", "merged", cwd=folder)
    merged, info = load(folder / "merged")
    checks.expect(not info["missing_keys"] and not info["unexpected_keys"], f"{family}: every key of the merged folder loads")
    checks.near(their_logits(merged, batch), theirs, BOUND, f"{family}: merged folder in transformers, logits")
    checks.near(their_logits(adapted.merge_and_unload(), batch), their_logits(merged, batch), BOUND, f"{family}: merged as peft merges")


def check_split(checks, programs, family):
    """What two ranks write of a model whose layers, tokens or stages are split."""
    folder = programs.work / family
    base, _ = load(folder / "model")
    batch = documents([33, 1, 20], base.config.vocab_size, seed=11)
    before = their_logits(base, batch)
    for key in ("tensor_parallel_size", "context_parallel_size", "pipeline_parallel_size"):
        name, full, lora = f"{family}, {key} 2", folder / f"full_{key}", folder / f"lora_{key}"
        for recipe, output in (("full", full), ("lora", lora)):
            programs.run("hone", "train", f"{recipe}.yaml", "--set", f"{key}=2", "--set", f"output_dir={output.name}", cwd=folder, ranks=2)
        model, info = load(full)
        checks.expect(not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"],
                      f"{name}: every key of the fully tuned folder loads")
        theirs = their_logits(model, batch)
        checks.near(programs.logits(full, None, batch), theirs, BOUND, f"{name}: full fine-tuning, logits")
        checks.expect((theirs - before).abs().max() > 100 * BOUND, f"{name}: full fine-tuning changed the model")
        theirs = their_logits(PeftModel.from_pretrained(load(folder / "model")[0], lora).eval(), batch)
        checks.near(programs.logits(folder / "model", lora, batch), theirs, BOUND, f"{name}: adapter in peft, logits")
        checks.expect((theirs - before).abs().max() > 100 * BOUND, f"{name}: the adapter changed the model")
        check_tokenizer(checks, name, folder / "model", full)


def check(checks, programs):
    for family in FAMILIES:
        check_family(checks, programs, family)
    check_split(checks, programs, "llama")  # tied embedding
    check_split(checks, programs, "qwen3")  # a head of its own
