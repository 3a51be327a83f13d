"""Packed micro-batches of token ids, and their loss computed one document at a time."""

import torch
import torch.nn.functional as F


def make_packed(lengths, vocab_size, generator, masked=0.25):
    """Random documents laid end to end. labels[t] is document token t+1 where it is trained, else -100."""
    ids, positions, labels, cu = [], [], [], [0]
    for length in lengths:
        document = torch.randint(0, vocab_size, (length,), generator=generator)
        label = torch.full((length,), -100)
        label[:-1] = document[1:]
        label[torch.rand(length, generator=generator) < masked] = -100
        ids.append(document)
        labels.append(label)
        positions.append(torch.arange(length))
        cu.append(cu[-1] + length)
    return {
        "input_ids": torch.cat(ids),
        "position_ids": torch.cat(positions),
        "labels": torch.cat(labels),
        "cu_doc_lens": torch.tensor(cu, dtype=torch.int32),
    }


def logits_by_document(model, batch):
    """[T, V]: every document is a forward of its own, so no document can see another."""
    cu = batch["cu_doc_lens"].tolist()
    rows = []
    for begin, end in zip(cu, cu[1:]):
        out = model(input_ids=batch["input_ids"][None, begin:end], use_cache=False)
        rows.append(out.logits[0])
    return torch.cat(rows)


def sum_nll(logits, labels):
    return F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
