"""Tokenization and templates against transformers, live, on texts the golden files don't hold."""

import random
import shutil
import sys
import unicodedata

import transformers
from transformers.utils.chat_template_utils import render_jinja_template

from common import GOLDEN, byte_offsets

sys.path.insert(0, str(GOLDEN))
import text_inputs
from make_text import TEMPLATES


def fresh_texts(count):
    rng = random.Random(99)
    letters = [c for c in map(chr, range(0x20, 0x30000)) if unicodedata.category(c) not in ("Cn", "Cs", "Co")]
    words = text_inputs.CORPUS.split() + [t for tokens in text_inputs.SPECIALS.values() for t in tokens]
    marks = list(" \n\t\r'\"-_.,;1234567890aAbBéÅ你🙂\u0301\u200d\u00a0<|>")
    texts = []
    for i in range(count):
        pool = (letters, words, marks)[i % 3]
        texts.append(rng.choice(["", " ", "  ", "\n"] if pool is words else [""]).join(rng.choice(pool) for _ in range(rng.randint(1, 24))))
    return texts


def their_row(tokenizer, text):
    plain = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    whole = tokenizer(text)["input_ids"]
    return {
        "ids": plain["input_ids"],
        "offsets": byte_offsets(text, plain["offset_mapping"]),
        "ids_special": whole,
        "decoded": tokenizer.decode(whole),
        "decoded_skip": tokenizer.decode(whole, skip_special_tokens=True),
    }


def check_tokenizer(checks, programs, name, folder, texts):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ours = programs.text(folder, texts, [])["texts"]
    wrong = [(t, k) for t, row in zip(texts, ours) for k, v in their_row(tokenizer, t).items() if row[k] != v]
    checks.expect(not wrong, f"tokenizer {name}: {len(texts)} texts", wrong[:3] if wrong else "")


def their_chat(tokenizer, template, chat):
    options = dict(chat_template=template, add_generation_prompt=chat["add_generation_prompt"], **chat["extra"])
    try:
        text = tokenizer.apply_chat_template(chat["messages"], tokenize=False, **options)
    except Exception as error:
        return {"refuses": str(error)}
    row = {"text": text}
    if "endgeneration" in template:
        given = [{k: v for k, v in m.items() if v is not None} for m in chat["messages"]]
        special = {k: v for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
        _, spans = render_jinja_template([given], return_assistant_tokens_mask=True, **{**special, **options})
        flat = byte_offsets(text, spans[0])
        row["generation_spans"] = [flat[i : i + 2] for i in range(0, len(flat), 2)]
    return row


def check_template(checks, programs, name, tokenizer_name):
    folder = programs.work / "template" / name
    shutil.copytree(GOLDEN / "text" / "tokenizers" / tokenizer_name, folder)
    template = (GOLDEN / "text" / "templates" / f"{name}.jinja").read_text()
    (folder / "chat_template.jinja").write_text(template)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    chats = [{"messages": m, "extra": e, "add_generation_prompt": p} for _, m, e in text_inputs.CHATS for p in (False, True)]
    ours = programs.text(folder, [], chats)["chats"]
    wrong = []
    for i, (chat, row) in enumerate(zip(chats, ours)):
        theirs = their_chat(tokenizer, template, chat)
        if "refuses" in theirs:
            if "refuses" not in row:
                wrong.append((text_inputs.CHATS[i // 2][0], "they refuse", theirs["refuses"], row["text"]))
        elif row != theirs:
            wrong.append((text_inputs.CHATS[i // 2][0], theirs, row))
    checks.expect(not wrong, f"template {name}: {len(chats)} conversations", wrong[:2] if wrong else "")


def check(checks, programs):
    texts = fresh_texts(300)
    for folder in sorted((GOLDEN / "text" / "tokenizers").iterdir()):
        check_tokenizer(checks, programs, folder.name, folder, texts)
    for name, (tokenizer_name, _) in TEMPLATES.items():
        check_template(checks, programs, name, tokenizer_name)
