"""Chat templates of real models against transformers: every template, conversation and variant gives the same text and the
same assistant spans, or both refuse."""

import copy
import shutil
import sys
from pathlib import Path

import transformers

from common import GOLDEN

sys.path.insert(0, str(GOLDEN))
import text_inputs
from check_text import their_chat

# Where a difference is known and why it stays. Nothing else may differ.
KNOWN = {}


def corpus(folder):
    """{name: source}, each source once: TRL's templates and those of the folder that cmake/setup.sh fetches."""
    import trl

    templates = {}
    for path in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja")):
        templates[f"trl/{path.stem}"] = path.read_text()
    for path in sorted(Path(folder).rglob("*.jinja")):
        templates[f"axolotl/{path.stem}"] = path.read_text()
    seen, unique = set(), {}
    for name, source in templates.items():
        if source not in seen:
            seen.add(source)
            unique[name] = source
    return unique


def variants():
    """(label, chat): each conversation with and without generation prompt, and with tools beside it."""
    for name, messages, extra in text_inputs.CHATS:
        for tools in (False, True):
            if tools and "tools" in extra:
                continue
            given = {**extra, "tools": text_inputs.TOOLS} if tools else extra
            for prompt in (False, True):
                label = name + (", tools" if tools else "") + (", prompt" if prompt else "")
                yield label, {"messages": messages, "extra": given, "add_generation_prompt": prompt}


def outcome(ours, theirs):
    if "refuses" in ours or "refuses" in theirs:
        if "refuses" in ours and "refuses" in theirs:
            return "both refuse"
        return "only we refuse" if "refuses" in ours else "only they refuse"
    if ours["text"] != theirs["text"]:
        return "text differs"
    if ours.get("generation_spans") != [list(s) for s in theirs.get("generation_spans", [])] and "generation_spans" in theirs:
        return "spans differ"
    return "equal"


def check(checks, programs, folder):
    templates, chats = corpus(folder), list(variants())
    work = programs.work / "corpus"
    shutil.copytree(GOLDEN / "text" / "tokenizers" / "llama2", work)
    tokenizer = transformers.AutoTokenizer.from_pretrained(work)
    counts, wrong, spans = {}, {}, 0
    for name, source in templates.items():
        (work / "chat_template.jinja").write_text(source)
        try:
            ours = programs.text(work, [], [chat for _, chat in chats])["chats"]
        except RuntimeError as error:
            ours = [{"refuses": str(error)}] * len(chats)
        for (label, chat), row in zip(chats, ours):
            theirs = their_chat(tokenizer, source, copy.deepcopy(chat))
            found = outcome(row, theirs)
            counts[found] = counts.get(found, 0) + 1
            spans += "generation_spans" in theirs
            if found not in ("equal", "both refuse"):
                wrong.setdefault((name, found), []).append((label, row, theirs))
    for (name, found), cases in wrong.items():
        if found in KNOWN.get(name, {}):
            continue
        label, row, theirs = cases[0]
        checks.expect(False, f"template {name}: {found}", f"{len(cases)} of {len(chats)}, first: {label}\n  ours   {row}\n  theirs {theirs}")
    checks.expect(len(templates) >= 100, f"corpus of {len(templates)} templates x {len(chats)} conversations",
                  ", ".join(f"{k}: {v}" for k, v in sorted(counts.items())) + f"; spans compared: {spans}")
