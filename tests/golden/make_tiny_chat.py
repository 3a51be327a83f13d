#!/usr/bin/env python3
"""Makes tests/golden/tiny-chat: a whole chat model small enough to commit, for end-to-end tests.

A two-layer Llama of random weights (hidden 32, vocabulary 512, tied), a byte-level BPE tokenizer trained on a few sentences,
a ChatML template, and forty rows of chat data. Needs transformers and tokenizers; versions are pinned in
cmake/versions.env.
"""
import json
import pathlib

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

folder = pathlib.Path(__file__).parent / "tiny-chat"
folder.mkdir(exist_ok=True)

NOUNS = ["editor", "compiler", "library", "shell", "browser", "server", "font", "game"]
VERBS = ["edits text", "builds programs", "reads files", "draws pictures", "serves pages"]
rows = []
for i in range(40):
    name = f"pkg{i}"
    noun, verb = NOUNS[i % len(NOUNS)], VERBS[i % len(VERBS)]
    rows.append({"messages": [
        {"role": "user", "content": f"What is {name}?"},
        {"role": "assistant", "content": f"{name} is a {noun} that {verb}."},
    ]})
for file, part in (("train.jsonl", rows[:32]), ("test.jsonl", rows[32:])):
    (folder / file).write_text("".join(json.dumps(row) + "\n" for row in part))

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
tokenizer.decoder = decoders.ByteLevel()
text = [m["content"] for row in rows for m in row["messages"]] + ["system user assistant"] * 4
tokenizer.train_from_iterator(text, trainers.BpeTrainer(
    vocab_size=512, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", bos_token="<|im_start|>",
                               pad_token="<|endoftext|>", unk_token="<|endoftext|>")
fast.chat_template = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
fast.save_pretrained(folder)

torch.manual_seed(0)
config = LlamaConfig(vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True, bos_token_id=1,
                     eos_token_id=2, pad_token_id=0)
LlamaForCausalLM(config).float().save_pretrained(folder)
