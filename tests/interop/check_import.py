"""The checkpoint that `hone import` makes of a GGUF file, in transformers."""

import shutil

import torch
import transformers

import check_export
import check_models
import check_text


def check(checks, programs, gguf, llama):
    programs.run("hone", "import", gguf, "test/smollm2")
    folder = programs.work / "smollm2"
    programs.run("hone", "pull", "test/smollm2", "--output", folder)
    check_text.check_tokenizer(checks, programs, "imported SmolLM2", folder, check_text.fresh_texts(300))

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    digits = tokenizer.convert_ids_to_tokens(tokenizer("in 2026")["input_ids"])
    checks.expect(digits == ["in", "Ġ", "2", "0", "2", "6"], "imported SmolLM2: digits are split one by one", digits)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "What is vim?"}], tokenize=False, add_generation_prompt=True)
    ours = programs.text(folder, [], [{"messages": [{"role": "user", "content": "What is vim?"}], "extra": {}, "add_generation_prompt": True}])
    checks.expect(ours["chats"][0]["text"] == text, "imported SmolLM2: template")

    model, info = check_models.load(folder)
    checks.expect(not info["missing_keys"] and not info["unexpected_keys"], "imported SmolLM2: every key loads")
    ids = torch.tensor(tokenizer(text + "vim is a text editor.")["input_ids"])
    batch = {"input_ids": ids, "position_ids": torch.arange(len(ids)), "labels": torch.full_like(ids, -100),
             "cu_doc_lens": torch.tensor([0, len(ids)], dtype=torch.int32)}
    theirs = check_models.their_logits(model, batch)
    # Both are float32 with errors of their own: tests/golden/smollm2 holds each to float64.
    checks.near(programs.logits(folder, None, batch), theirs, 5e-4, "imported SmolLM2: logits")
    prompt = torch.tensor([tokenizer(text)["input_ids"]])
    answer = tokenizer.decode(model.generate(prompt, max_new_tokens=8, do_sample=False)[0, prompt.shape[1] :])
    checks.expect(any(c.isalpha() for c in answer), "imported SmolLM2: it speaks", repr(answer))
    check_export.check_smollm2(checks, programs, llama, folder)
    shutil.rmtree(folder)
