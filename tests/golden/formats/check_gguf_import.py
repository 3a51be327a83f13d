"""Compares an imported folder with transformers' own reading of the GGUF file and with a plain BPE on text.

hone import FILE.gguf ID, then: python tests/golden/formats/check_gguf_import.py FILE.gguf FOLDER

Weights must be equal bit for bit. transformers loses the digit split of the `smollm` pre-tokenizer, so ids are compared with
the BPE below, which follows llama.cpp: special tokens first, then single digits, then GPT-2's expression.
"""

import os
import random
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import gguf
import regex
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

gguf_path, folder = sys.argv[1:]
reader = gguf.GGUFReader(gguf_path)
field = lambda key: reader.fields[key].contents()
tokens, types = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
ids = {token: i for i, token in enumerate(tokens)}
rank = {tuple(merge.split(" ")): i for i, merge in enumerate(field("tokenizer.ggml.merges"))}
specials = sorted((t for t, kind in zip(tokens, types) if kind in (3, 4)), key=len, reverse=True)
special_text = regex.compile("(" + "|".join(map(regex.escape, specials)) + ")")
words = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
others = [b for b in range(256) if b not in kept]
alphabet = {b: chr(b) for b in kept} | {b: chr(256 + i) for i, b in enumerate(others)}


def merge_word(word):
    word = list(word)
    while len(word) > 1:
        best, i = min((rank.get((a, b), len(rank)), i) for i, (a, b) in enumerate(zip(word, word[1:])))
        if best == len(rank):
            break
        word[i:i + 2] = [word[i] + word[i + 1]]
    return word


def encode(text):
    out = []
    for part in special_text.split(text):
        if part in specials:
            out.append(ids[part])
            continue
        for piece in regex.split(r"(\p{N})", part) if field("tokenizer.ggml.pre") == "smollm" else [part]:
            for word in words.findall(piece):
                out += [ids[t] for t in merge_word("".join(alphabet[b] for b in word.encode()))]
    return out


tokenizer = AutoTokenizer.from_pretrained(folder)
generator = random.Random(1)
texts = ["2024 costs 123", "a  b   c\n\n d\t\te\r\nf", "naïve café 日本語 中文123 ٣٤٥ Ⅷ ½ 👩‍👩‍👧", "don't I'LL we've", "   ", "\n",
         "<|im_start|>user\nhi 12<|im_end|>\n", "\u00a0\u2003a\u200b1", "def f(x):\n    return x**2  # 10\n"]
texts += ["".join(generator.choice("ab 12\n\téß日.,!\u0301👍½ Athecost") for _ in range(60)) for _ in range(500)]
wrong = [text for text in texts if tokenizer.encode(text) != encode(text)]
print(f"{len(texts)} texts, {len(wrong)} encoded differently", wrong[:2])

path = os.path.abspath(gguf_path)
reference = AutoModelForCausalLM.from_pretrained(os.path.dirname(path), gguf_file=os.path.basename(path),
                                                 dtype=torch.float32).state_dict()
ours = load_file(f"{folder}/model.safetensors")
different = [name for name in ours if not torch.equal(ours[name], reference[name])]
print(f"{len(ours)} tensors, {len(different)} different", different[:5])
sys.exit(bool(wrong or different))
