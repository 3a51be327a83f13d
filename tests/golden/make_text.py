#!/usr/bin/env python3
"""Makes text/: small tokenizers of the kinds we support, with the ids, offsets and decoded texts transformers gives, and the
chat templates of the families we support, with what transformers renders from them. README.md has the formats.
"""

import json
import os
import shutil
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import trl
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

import text_inputs

OUT = Path(__file__).resolve().parent / "text"
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def byte_level(pre_tokenizer, normalizer=None, vocab_size=500, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(text_inputs.CORPUS.split("\n"), trainer)
    return tokenizer


def split_then_bytes(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])


def smollm():
    return byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ]))


def qwen2():
    tokenizer = byte_level(split_then_bytes(QWEN2), normalizers.NFC())
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def llama3():
    return byte_level(split_then_bytes(LLAMA3), ignore_merges=True)


def sentencepiece_like(metaspace_first):
    """BPE with byte fallback, as converted from SentencePiece: words joined by U+2581, unknown characters as bytes."""
    head = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=head, limit_alphabet=100, show_progress=False)
    tokenizer.train_from_iterator(text_inputs.CORPUS.split("\n"), trainer)
    settings = json.loads(tokenizer.to_str())
    settings["added_tokens"] = [t for t in settings["added_tokens"] if t["id"] < 3]
    tokenizer = Tokenizer.from_str(json.dumps(settings))
    if metaspace_first:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        settings = json.loads(tokenizer.to_str())
        settings["pre_tokenizer"] = None
        tokenizer = Tokenizer.from_str(json.dumps(settings))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1)])
    return tokenizer


def begin_with(tokenizer, bos, before=()):
    bos_id = tokenizer.token_to_id(bos)
    template = processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, bos_id)])
    tokenizer.post_processor = processors.Sequence([*before, template]) if before else template


def save_tokenizer(name, tokenizer, special, not_special=(), bos_first=False, before=(), **config):
    from tokenizers import AddedToken

    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in not_special])
    if bos_first:
        begin_with(tokenizer, config["bos_token"], before)
    folder = OUT / "tokenizers" / name
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False,
              "model_max_length": 4096, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def make_tokenizers():
    s = text_inputs.SPECIALS
    save_tokenizer("smollm", smollm(), s["smollm"], bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>", unk_token="<|endoftext|>")
    save_tokenizer("qwen2", qwen2(), s["qwen2"][:3], s["qwen2"][3:] + ["</tool_call>", "<tool_response>", "</tool_response>"], eos_token="<|im_end|>", pad_token="<|endoftext|>", bos_token=None)
    save_tokenizer("llama3", llama3(), s["llama3"] + ["<|end_of_text|>", "<|eom_id|>", "<|python_tag|>"], bos_first=True, before=[processors.ByteLevel(trim_offsets=False)],
                   bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")
    save_tokenizer("llama2", sentencepiece_like(False), s["llama2"], bos_first=True, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    save_tokenizer("mistral", sentencepiece_like(True), ["<unk>", *s["mistral"], "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"],
                   bos_first=True, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def byte_offsets(text, spans):
    at = [0]
    for character in text:
        at.append(at[-1] + len(character.encode()))
    return [[at[b], at[e]] for b, e in spans]


def make_encodings():
    texts = text_inputs.make_texts()
    write("texts.json", texts)
    for folder in sorted((OUT / "tokenizers").iterdir()):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        rows = []
        for text in texts:
            plain = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            whole = tokenizer(text)["input_ids"]
            row = {"ids": plain["input_ids"], "offsets": byte_offsets(text, plain["offset_mapping"])}
            row["offsets"] = [n for pair in row["offsets"] for n in pair]
            if whole != plain["input_ids"]:
                row["ids_special"] = whole
            decoded, skipped = tokenizer.decode(whole), tokenizer.decode(whole, skip_special_tokens=True)
            row["decoded"] = decoded
            if skipped != decoded:
                row["decoded_skip"] = skipped
            rows.append(row)
        write(f"encodings/{folder.name}.json", rows)
        print(folder.name, len(tokenizer), "tokens;", sum(len(r["ids"]) for r in rows), "ids")


# template -> (tokenizer, where it is from)
TEMPLATES = {name: ("llama3" if name.startswith("llama3") else "qwen2", "trl")
             for name in ("llama3", "llama3_training", "llama3_1", "llama3_2", "qwen2_5", "qwen2_5_training", "qwen3", "qwen3_training",
                          "qwen3_instruct_2507", "qwen3_instruct_2507_training")}
TEMPLATES |= {"smollm2": ("smollm", "here"), "mistral": ("mistral", "here"), "mistral_tools": ("mistral", "here"), "dated": ("llama3", "here")}


def make_chats():
    source = Path(trl.__file__).parent / "chat_templates"
    folder = OUT / "templates"
    folder.mkdir(exist_ok=True)
    write("chats.json", [{"name": n, "messages": m, "extra": e} for n, m, e in text_inputs.CHATS])
    write("templates.json", {name: tokenizer for name, (tokenizer, _) in TEMPLATES.items()})
    for name, (tokenizer_name, origin) in TEMPLATES.items():
        path = folder / f"{name}.jinja"
        if origin == "trl":
            shutil.copyfile(source / f"{name}.jinja", path)
        template = path.read_text()
        tokenizer = AutoTokenizer.from_pretrained(OUT / "tokenizers" / tokenizer_name)
        rows = []
        for index, (_, messages, extra) in enumerate(text_inputs.CHATS):
            for prompt in (False, True):
                row = {"chat": index, "add_generation_prompt": prompt}
                rows.append(row | render(tokenizer, template, messages, prompt, extra))
        write(f"rendered/{name}.json", rows)
        print(name, sum("text" in r for r in rows), "texts,", sum("refuses" in r for r in rows), "refusals")


def render(tokenizer, template, messages, prompt, extra):
    options = dict(chat_template=template, add_generation_prompt=prompt, **extra)
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    except Exception as error:
        return {"refuses": f"{type(error).__name__}: {error}"}
    row = {"text": text}
    if "generation" in template and "endgeneration" in template:
        out = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **options)
        row["ids"] = out["input_ids"]
        row["assistant_mask"] = out["assistant_masks"]
        special = {k: v for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
        given = [{k: v for k, v in m.items() if v is not None} for m in messages]  # as apply_chat_template does
        again, spans = render_jinja_template([given], return_assistant_tokens_mask=True, **{**special, **options})
        assert again[0] == text
        row["generation_spans"] = byte_offsets(text, spans[0])
    return row


def write(name, value):
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(value, list):  # a row a line
        lines = ",\n".join(json.dumps(v, ensure_ascii=False, separators=(",", ":")) for v in value)
        path.write_text("[\n" + lines + "\n]\n", encoding="utf-8")
    else:
        path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    for name in ("tokenizers", "encodings", "rendered"):
        shutil.rmtree(OUT / name, ignore_errors=True)
    make_tokenizers()
    make_encodings()
    make_chats()


if __name__ == "__main__":
    main()
