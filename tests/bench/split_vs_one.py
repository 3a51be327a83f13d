#!/usr/bin/env python3
"""Layers, tokens or stages split over two ranks of one thread against one rank of one thread: the same packs in the same global
batch, in turns.

  tests/bench/split_vs_one.py --bin build/bin --model FOLDER [--layouts tp,cp,pp,pp-interleaved] [--max-length 1024] [--rounds 3]
                              [--steps 3] [--accumulation 1] [--idle yield] [--markdown FILE]

FOLDER: SmolLM2-135M-Instruct in Hugging Face layout. Its 9 query heads do not divide by 2, so the model that is trained is made
of its config with 8 query and 4 KV heads, random weights, and its tokenizer. float32, `accumulation` packs a step, one a
micro-batch; give a pipeline 16 or more. Reported: tokens/s (median over the steps after the first, then over rounds), the ratio
in each round, the share of the steps' time in which rank 0 waited for others or moved data, by axis, the bubble of a pipeline
(the slots in which a rank has nothing to do, all chunks at one cost), peak resident memory, and the bytes of parameters,
gradients and moments that the fuller rank keeps over those of one rank. Both sides must have trained on the same tokens and lost
the same (to 1e-5), else it was not the same work.
"""

import argparse
import json
import shutil
import statistics

import numpy
from safetensors.numpy import save_file
from two_sides import add_options, bench, check_same_work, gigabytes, machine, mpirun, once, publish, rate, spread

LAYOUTS = {"tp": {"tensor_parallel_size": 2}, "cp": {"context_parallel_size": 2}, "pp": {"pipeline_parallel_size": 2},
           "pp-interleaved": {"pipeline_parallel_size": 2, "pipeline_schedule": "interleaved"}}
CHUNKS = {"pp": 1, "pp-interleaved": 2}  # a rank
TARGET = 1.6
HELD = ("param_bytes", "grad_bytes", "optimizer_bytes")


def make_even_model(source, folder):
    """SmolLM2 with heads that two ranks can share, weights from a fixed seed."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        if (source / name).exists():
            shutil.copy(source / name, folder)
    config = json.loads((source / "config.json").read_text())
    config.update(num_attention_heads=8, num_key_value_heads=4, head_dim=64)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    random = numpy.random.default_rng(0)

    def matrix(*shape):
        return random.standard_normal(shape, dtype=numpy.float32) * 0.02

    def ones():
        return numpy.ones(hidden, numpy.float32)

    tensors = {"model.embed_tokens.weight": matrix(config["vocab_size"], hidden), "model.norm.weight": ones()}
    for layer in range(config["num_hidden_layers"]):
        block = {"input_layernorm": ones(), "post_attention_layernorm": ones(), "self_attn.q_proj": matrix(512, hidden),
                 "self_attn.k_proj": matrix(256, hidden), "self_attn.v_proj": matrix(256, hidden),
                 "self_attn.o_proj": matrix(hidden, 512), "mlp.gate_proj": matrix(inner, hidden),
                 "mlp.up_proj": matrix(inner, hidden), "mlp.down_proj": matrix(hidden, inner)}
        tensors |= {f"model.layers.{layer}.{name}.weight": tensor for name, tensor in block.items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def bubble(layout, accumulation):
    return 1 / (accumulation * CHUNKS[layout] + 1) if layout in CHUNKS else None


def train(runs, model, accumulation, layout=None, idle="yield"):
    launcher = mpirun(2, idle) if layout else ()
    result = runs.hone(launcher, model_name_or_path=str(model), global_batch_size=accumulation, **LAYOUTS.get(layout, {}))
    rows = [json.loads(line) for line in (runs.work / "hone/metrics.jsonl").read_text().splitlines()]
    result["axes"] = [row["communication"] for row in rows if "communication" in row]
    result["held"] = max(sum(sizes) for sizes in zip(*(result["info"][key] for key in HELD)))
    return result


def measure(options):
    """layout -> list of pairs (one rank, two ranks), a round each."""
    pairs = {}
    measure_once = once(options.results)
    with bench(options, threads=1) as runs:
        model = runs.work / "even"
        make_even_model(options.model, model)
        for number in range(options.rounds):
            one = measure_once([number, "one"], train, runs, model, options.accumulation)
            print(f"round {number + 1} one rank: {rate(one):.0f} tokens/s, {gigabytes(one['rank_memory'])}", flush=True)
            for layout in options.layouts.split(","):
                many = measure_once([number, layout], train, runs, model, options.accumulation, layout, options.idle)
                check_same_work(one, many, layout, bound=1e-5)
                pairs.setdefault(layout, []).append((one, many))
                print(f"round {number + 1} {layout}: {rate(many):.0f} tokens/s, {rate(many) / rate(one):.2f}x, "
                      f"{gigabytes(many['rank_memory'])}, exposed {many['exposed']:.1%} {many['axes'][-1:]}", flush=True)
    return pairs


def table(pairs, options):
    lines = ["| layout | one rank | 2 ranks | ratio | each round | target | bubble | exposed communication | parameters, gradients, "
             "moments | peak memory of one rank | of each of the two |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    for layout, rounds in pairs.items():
        ratios = [rate(many) / rate(one) for one, many in rounds]
        share = bubble(layout, options.accumulation)
        ranks = [statistics.median(sizes) for sizes in zip(*(many["rank_memory"] for _, many in rounds))]
        lines.append(
            f"| {layout} | {statistics.median(rate(one) for one, _ in rounds):.0f} tokens/s | "
            f"{statistics.median(rate(many) for _, many in rounds):.0f} tokens/s | {spread(ratios)} | "
            f"{', '.join(f'{x:.2f}' for x in ratios)} | {TARGET} | {f'{share:.1%}' if share else ''} | "
            f"{spread([many['exposed'] for _, many in rounds], '.1%') if options.steps > 1 else ''} | "
            f"{rounds[0][1]['held'] / rounds[0][0]['held']:.2%} | "
            f"{gigabytes([statistics.median(one['memory'] for one, _ in rounds)])} | {gigabytes(ranks)} |")
    return "\n".join(lines) + "\n"


def describe(options):
    return (f"`tests/bench/split_vs_one.py --bin build/bin --model FOLDER --layouts {options.layouts} --max-length {options.max_length} "
            f"--accumulation {options.accumulation} --idle {options.idle} --rounds {options.rounds} --steps {options.steps}` on "
            f"{machine()}: SmolLM2-135M with 8 query and 4 KV heads, full, float32, packs of {options.max_length:,} tokens, one thread a "
            "rank.\n\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, rounds=3, steps=3)
    parser.add_argument("--layouts", default="tp,cp", help="of tp, cp, pp, pp-interleaved")
    parser.add_argument("--accumulation", type=int, default=1, help="micro-batches of a step")
    parser.add_argument("--idle", default="yield", help="spin or yield")
    options = parser.parse_args()
    publish(describe(options) + table(measure(options), options), options)


if __name__ == "__main__":
    main()
