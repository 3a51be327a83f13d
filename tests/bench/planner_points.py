#!/usr/bin/env python3
"""Published runs of other projects against `hone plan`: the table of docs/planner.md.

  tests/bench/planner_points.py --bin build/bin            prints the table
  tests/bench/planner_points.py --bin build/bin --fit      the efficiency that fits rows 17 and 25

Throughput is the plan's own, but for three things that these stacks do otherwise: Megatron-LM of 2022 did not hide its transfers
over the tensor axis, PyTorch's cross-entropy passes over whole logits (counted where there is no pipeline), and the GPUs of rows 1
to 3 were limited in power. Memory is what these projects hold, not what hone would: states, gathered parameters and
micro-batches in flight are the plan's, activations are those of PyTorch's autograd for what the row says was recomputed
(Korthikanti et al., arXiv:2205.05198, without dropout and with flash attention), and logits are whole.
"""
import argparse, json, math, pathlib, subprocess, tempfile

GIB, GB = 2**30, 1e9
HARDWARE = pathlib.Path(__file__).resolve().parents[2] / "configs/hardware"


def numbers(name):
    pairs = (line.split("#")[0].split(":") for line in (HARDWARE / f"{name}.yaml").read_text().splitlines())
    return {pair[0]: float(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] not in ("description", "kind")}


def model(hidden, layers, heads, kv, inter, vocab, tied=False):
    return dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=hidden, num_hidden_layers=layers,
                num_attention_heads=heads, num_key_value_heads=kv, intermediate_size=inter, vocab_size=vocab,
                tie_word_embeddings=tied, max_position_embeddings=1 << 20, rms_norm_eps=1e-5, rope_theta=5e5,
                torch_dtype="bfloat16")


def gpt(hidden, layers, heads, vocab=51200):
    """Two matrices of 4 h make as many weights as three of 8/3 h."""
    return model(hidden, layers, heads, heads, 8 * hidden // 3 // 64 * 64, vocab, True)


L8B, L70B = model(4096, 32, 32, 8, 14336, 128256), model(8192, 80, 64, 8, 28672, 128256)
L405B, L3B = model(16384, 126, 128, 8, 53248, 128256), model(3072, 28, 24, 8, 8192, 128256, True)
Q32B = model(5120, 64, 40, 8, 27648, 152064)
MPT = {n: gpt(*s, vocab=50432) for n, s in {"125m": (768, 12, 12), "7b": (4096, 32, 32), "13b": (5120, 40, 40),
                                              "30b": (7168, 48, 56), "70b": (8192, 80, 64)}.items()}
MEGATRON = ("12", "13", "14", "15", "16")
ALL = dict(r=16, target="all-linear")


def row(no, name, spec, seq, mbs, accumulation=1, hw="h100", ac="none", lora=None, tokens=None, step=None, gib=None,
        gb=None, note="", slack=1.1, full_bf16=False, mean=False, hw_set=None, **layout):
    return dict(no=no, name=name, spec=spec, seq=seq, mbs=mbs, accumulation=accumulation, hw=hw, ac=ac, lora=lora,
                tokens=tokens, step=step, bytes=gib * GIB if gib else gb * GB if gb else None, note=note,
                slack=slack, full_bf16=full_bf16, mean=mean, hw_set=hw_set or {}, layout=layout)


F8 = "float8, planned as bfloat16"
F8_SET = {}
W500 = "GPUs limited to 500 W"
# Power grows with the cube of the clock where voltage follows it: 700 W to 500 W.
W500_SET = {key: value * (5 / 7) ** (1 / 3) for key, value in numbers("h100").items() if key.endswith("_share")}
ROWS = [
    row("1", "Llama-3.1-8B FSDP 8, 2 x 8,192, selective, eager", L8B, 8192, 2, ac="selective", tokens=5762, gib=82.4,
        note=W500 + ", eager", hw_set=W500_SET, dp_shard_size=8),
    row("2", "the same, compiled", L8B, 8192, 2, ac="selective", tokens=6667, gib=77.0, note=W500, hw_set=W500_SET, dp_shard_size=8),
    row("3a", "as 1 on 128 GPUs", L8B, 8192, 2, ac="selective", tokens=5605, gib=67.0, note=W500 + ", eager",
        hw_set=W500_SET, dp_shard_size=128),
    row("3b", "as 2 on 128 GPUs", L8B, 8192, 2, ac="selective", tokens=6514, gib=62.0, note=W500, hw_set=W500_SET, dp_shard_size=128),
    row("4a", "8B FSDP 8, 32 k, full recompute, float8", L8B, 32768, 1, ac="full", tokens=3890, gib=83.9, note=F8,
        hw_set=F8_SET, dp_shard_size=8),
    row("4b", "8B FSDP 4 x CP 2, 64 k", L8B, 65536, 1, ac="full", tokens=2540, gib=84.2, note=F8, hw_set=F8_SET,
        dp_shard_size=4, context_parallel_size=2),
    row("4c", "8B FSDP 2 x CP 4, 128 k", L8B, 131072, 1, ac="full", tokens=1071, gib=84.2, note=F8, hw_set=F8_SET,
        dp_shard_size=2, context_parallel_size=4),
    row("4d", "8B CP 8, 256 k", L8B, 262144, 1, ac="full", tokens=548, gib=84.5, note=F8, hw_set=F8_SET,
        context_parallel_size=8),
    row("5", "70B FSDP 32 x TP 8, 16 x 8,192, full recompute, float8", L70B, 8192, 16, ac="full", tokens=829, gib=71.9,
        note=F8, hw_set=F8_SET, dp_shard_size=32, tensor_parallel_size=8),
    row("6a", "405B FSDP 8 x TP 8 x PP 8, 32 x 8,192, 1F1B, float8", L405B, 8192, 1, 32, ac="full", tokens=100,
        gib=82.5, note=F8, hw_set=F8_SET, dp_shard_size=8, tensor_parallel_size=8, pipeline_parallel_size=8,
        pipeline_schedule="1f1b"),
    row("6b", "the same, interleaved", L405B, 8192, 1, 32, ac="full", tokens=128, gib=72.7, note=F8, hw_set=F8_SET,
        dp_shard_size=8, tensor_parallel_size=8, pipeline_parallel_size=8, pipeline_schedule="interleaved"),
    row("8a", "8B, H200, 2 x 8,192, 32 GPUs, float8", L8B, 8192, 2, hw="h200", ac="selective", tokens=10938, gib=47.96,
        note=F8, hw_set=F8_SET, dp_shard_size=32),
    row("8b", "8B, H200, 2 x 8,192, 64 GPUs, float8", L8B, 8192, 2, hw="h200", ac="selective", tokens=10753, gib=46.97,
        note=F8, hw_set=F8_SET, dp_shard_size=64),
    row("7a", "405B TP 8 x PP 8, FSDP 8, 8 x 32 k, float8", L405B, 32768, 1, 8, ac="full", tokens=76, gib=75.3, note=F8,
        dp_shard_size=8, tensor_parallel_size=8, pipeline_parallel_size=8),
    row("7b", "the same, CP 2, 64 k", L405B, 65536, 1, 8, ac="full", tokens=47, gib=75.9, note=F8, dp_shard_size=4,
        context_parallel_size=2, tensor_parallel_size=8, pipeline_parallel_size=8),
    row("7c", "the same, CP 4, 128 k", L405B, 131072, 1, 8, ac="full", tokens=31, gib=77.1, note=F8, dp_shard_size=2,
        context_parallel_size=4, tensor_parallel_size=8, pipeline_parallel_size=8),
    row("7d", "the same, CP 8, 256 k", L405B, 262144, 1, 8, ac="full", tokens=16, gib=84.9, note=F8,
        context_parallel_size=8, tensor_parallel_size=8, pipeline_parallel_size=8),
    row("9", "405B, 8,192 GPUs, TP 8 x PP 16 x DP 64, 16 M tokens", L405B, 8192, 1, 32, tokens=430e12 / 2.5705e12,
        dp_shard_size=64, dp_shard_level=2, tensor_parallel_size=8, pipeline_parallel_size=16,
        pipeline_schedule="interleaved", virtual_pipeline_size=7),
    row("10", "the same, 16,384 GPUs, DP 128", L405B, 8192, 1, 16, tokens=400e12 / 2.5705e12, dp_shard_size=128,
        dp_shard_level=2, tensor_parallel_size=8, pipeline_parallel_size=16, pipeline_schedule="interleaved",
        virtual_pipeline_size=7),
    row("11", "the same, CP 16, DP 8, 131 k", L405B, 131072, 1, 16, tokens=380e12 / 3.9e12, dp_shard_size=8,
        dp_shard_level=2, context_parallel_size=16, tensor_parallel_size=8, pipeline_parallel_size=16,
        pipeline_schedule="interleaved", virtual_pipeline_size=7),
    row("12a", "GPT 22B, TP 8, 4 x 2,048", gpt(6144, 48, 64), 2048, 4, hw="a100", step=1.10, tensor_parallel_size=8),
    row("12b", "the same, full recompute", gpt(6144, 48, 64), 2048, 4, hw="a100", ac="full", step=1.42,
        tensor_parallel_size=8),
    row("13", "GPT 175B, TP 8 x PP 8, 64 x 2,048", gpt(12288, 96, 96), 2048, 1, 64, hw="a100", step=13.75,
        tensor_parallel_size=8, pipeline_parallel_size=8, pipeline_schedule="interleaved", virtual_pipeline_size=3),
    row("14", "GPT 530B, TP 8 x PP 35, 280 x 2,048", gpt(20480, 105, 128), 2048, 1, 280, hw="a100", step=37.83,
        tensor_parallel_size=8, pipeline_parallel_size=35, pipeline_schedule="interleaved", virtual_pipeline_size=3),
    row("15", "GPT 1T, TP 8 x PP 64, 512 x 2,048", gpt(25600, 128, 160), 2048, 1, 512, hw="a100", step=71.49,
        tensor_parallel_size=8, pipeline_parallel_size=64),
    row("16", "GPT 530B on 2,240 GPUs, DP 8", gpt(20480, 105, 128), 2048, 1, 280, hw="a100", tokens=0.542 * 312e12 / 3.23e12,
        dp_replicate_size=8, tensor_parallel_size=8, pipeline_parallel_size=35, pipeline_schedule="interleaved",
        virtual_pipeline_size=3),
    row("17", "MPT-7B FSDP 8, 6 x 2,048", MPT["7b"], 2048, 6, tokens=10643, note="fitted", dp_shard_size=8),
    row("18", "MPT-7B FSDP 8, 6 x 2,048 x 2", MPT["7b"], 2048, 6, 2, hw="a100", tokens=4641, dp_shard_size=8),
    row("19a", "MPT-13B FSDP 8, 2 x 2,048", MPT["13b"], 2048, 2, tokens=4792, dp_shard_size=8),
    row("19b", "MPT-13B FSDP 64", MPT["13b"], 2048, 2, tokens=4800, dp_shard_size=64),
    row("20a", "MPT-30B FSDP 8, 3 x 2,048, recompute", MPT["30b"], 2048, 3, ac="full", tokens=2002, dp_shard_size=8),
    row("20b", "MPT-70B FSDP 64, 8 x 2,048 x 4, recompute", MPT["70b"], 2048, 8, 4, ac="full", tokens=1039,
        dp_shard_size=64),
    row("21a", "MPT-7B A100 40 GB FSDP 8, recompute", MPT["7b"], 2048, 8, hw="a100", ac="full", tokens=3679,
        dp_shard_size=8),
    row("21b", "MPT-7B A100 40 GB FSDP 128, recompute", MPT["7b"], 2048, 8, hw="a100", ac="full", tokens=3623,
        dp_shard_size=128),
    row("22", "MPT-125M FSDP 8, 32 x 2,048", MPT["125m"], 2048, 32, hw="a100", tokens=141737, dp_shard_size=8),
    row("23", "Llama-3.2-3B LoRA q, v, 4 x 210, L40S", L3B, 210, 4, hw="l40s", lora=dict(r=32, target=["q_proj", "v_proj"]),
        tokens=6780, gb=6.92, slack=1.0, mean=True,
        note="padded rows, eager; memory is a mean: states alone"),
    row("24", "Llama-3.2-3B full, 4 x 210, L40S", L3B, 210, 4, hw="l40s", tokens=2310, gb=26.06, slack=1.0,
        full_bf16=True, mean=True,
        note="the same; AdamW in bfloat16: 8 bytes a parameter"),
    row("25", "Llama-3-8B LoRA, 2 x 4,096 x 16, 1 GPU", L8B, 4096, 2, 16, lora=ALL, tokens=12473, note="fitted"),
    row("26a", "70B LoRA, TP 2 x FSDP 4, 2 x 4,096 x 4", L70B, 4096, 2, 4, ac="unknown", lora=ALL, tokens=1092, dp_shard_size=4,
        tensor_parallel_size=2),
    row("26b", "70B LoRA, TP 2 x FSDP 8, 2 x 4,096 x 2", L70B, 4096, 2, 2, ac="unknown", lora=ALL, tokens=985, dp_shard_size=8,
        tensor_parallel_size=2),
    row("27", "70B LoRA, TP 2 x PP 4, interleaved 10", L70B, 4096, 1, 32, ac="unknown", lora=ALL, tokens=608, tensor_parallel_size=2,
        pipeline_parallel_size=4, pipeline_schedule="interleaved", virtual_pipeline_size=10),
    row("28", "Qwen2.5-32B LoRA, TP 2 x FSDP 4", Q32B, 4096, 2, 4, ac="unknown", lora=ALL, tokens=2250, dp_shard_size=4,
        tensor_parallel_size=2),
    row("29", "70B FSDP 32 x CP 2, 8,192 x 4", L70B, 8192, 1, 4, tokens=867, ac="unknown", dp_shard_size=32,
        context_parallel_size=2),
    row("30", "8B LoRA, 2 x 2,048, A6000", L8B, 2048, 2, hw="l40s", lora=dict(r=8, target=["q_proj", "v_proj"]),
        gib=30.3, slack=1.1, ac="full", note="memory only: no hardware file for the A6000"),
    row("31", "70B LoRA, FSDP 8, A100", L70B, 2048, 2, hw="a100", lora=dict(r=16, target=["q_proj", "v_proj"]),
        gib=27.6, slack=1.1, ac="full", note="memory only: batch not published", dp_shard_size=8),
] + [row(f"32{c}", f"ZeRO paper, 7.5B on 64 GPUs, stage {level}", gpt(4096, 37, 32, 51200), 64, 1, gb=gb, slack=1.0, ac="states",
         note="states alone", dp_shard_size=64 if level else 1, dp_replicate_size=1 if level else 64,
         **({"dp_shard_level": level} if level else {}))
     for c, level, gb in (("a", 0, 120), ("b", 1, 31.4), ("c", 2, 16.6), ("d", 3, 1.88))]


def plan(binary, r, folder, efficiency=None):
    """What was recomputed: as the row says; where nothing says it, everything if it would not fit otherwise. Selective
    recomputing (every second product) is half of it."""
    if r["ac"] == "unknown":
        p, ranks = plan(binary, dict(r, ac="none"), folder, efficiency)
        r["ac"] = "none" if their_bytes(dict(r, ac="none"), p, ranks) < p["memory"]["available"] else "full"
        r["note"] += ("; " if r["note"] else "") + ("no recompute" if r["ac"] == "none" else "full recompute, or it would not fit")
    p, ranks = plan_as(binary, r, folder, r["ac"] == "full", efficiency)
    tensor = next((axis for axis in p["time"]["communication"] if axis["axis"] == "tensor"), None)
    if r["hw"] == "a100" and tensor and r["no"].rstrip("ab") in MEGATRON:
        slower(p, tensor["seconds"] - tensor["exposed_seconds"])
    slower(p, whole_logits_seconds(r, p))
    if r["ac"] == "selective":
        full = plan_as(binary, r, folder, True, efficiency)[0]
        slower(full, whole_logits_seconds(r, full))
        p["time"]["tokens_per_second"] = 2 / (1 / p["time"]["tokens_per_second"] + 1 / full["time"]["tokens_per_second"])
    return p, ranks


def slower(p, seconds):
    step = p["time"]["step_seconds"]
    p["time"]["step_seconds"] += seconds
    p["time"]["tokens_per_second"] *= step / p["time"]["step_seconds"]


def whole_logits_seconds(r, p):
    """Cross-entropy of PyTorch on logits in float32: the copy is written, read by log_softmax and its result written; backward
    that is read with the gradient, which was written before, its own gradient written and read for the one in bfloat16."""
    lay = p["layout"]
    if lay["pp"] > 1:
        return 0
    passes, tokens = 8, r["accumulation"] * r["mbs"] * r["seq"] / lay["cp"]
    return passes * 4 * tokens * r["spec"]["vocab_size"] / lay["tp"] / numbers(r["hw"])["memory_bandwidth"]


def plan_as(binary, r, folder, recompute, efficiency):
    recipe = dict(recipe="sft", model_name_or_path="owner/model", datasets=[{"path": "owner/rows"}], output_dir="x",
                  max_length=r["seq"], micro_batch_size=r["mbs"], gradient_accumulation_steps=r["accumulation"],
                  gradient_checkpointing=recompute, dtype="bfloat16", packing=True, **r["layout"])
    if r["lora"]:
        recipe["adapter"] = dict(r=r["lora"]["r"], target_modules=r["lora"]["target"])
    ranks = math.prod(r["layout"].get(k, 1) for k in ("dp_replicate_size", "dp_shard_size", "context_parallel_size",
                                                     "tensor_parallel_size", "pipeline_parallel_size"))
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    (folder / "config.json").write_text(json.dumps(r["spec"]))
    lines = [l for l in (HARDWARE / f"{r['hw']}.yaml").read_text().splitlines() if l.split(":")[0] not in r["hw_set"]]
    lines += [f"{k}: {v:e}" for k, v in r["hw_set"].items()]
    if efficiency:
        lines = [f"efficiency: {efficiency}" if l.startswith("efficiency:") else l for l in lines]
    (folder / "hw.yaml").write_text("\n".join(lines) + "\n")
    out = subprocess.run([f"{binary}/hone", "plan", "recipe.yaml", "--ranks", str(ranks), "--config", "config.json",
                          "--hardware", "hw.yaml", "--json"], cwd=folder, capture_output=True, text=True)
    if out.returncode:
        raise SystemExit(f"row {r['no']}: {out.stderr}")
    return json.loads(out.stdout), ranks


def their_bytes(r, p, ranks):
    """What their stack holds: see the module's text."""
    s, at = r["spec"], p["memory"]["largest"]
    h, f, layers = s["hidden_size"], s["intermediate_size"], s["num_hidden_layers"]
    k = h // s["num_attention_heads"] * s["num_key_value_heads"]
    lay = p["layout"]
    tp, cp, pp = lay["tp"], lay["cp"], lay["pp"]
    states = at["parameters"] + at["gradients"] + at["optimizer"]
    if r["ac"] == "states":
        extra = 2 if lay["dp_shard"] == 1 or lay["dp_shard_level"] == 1 else 0  # 2-byte gradients in the paper, 4 here
        n = p["num_parameters"]
        grads = {1: 2 * n, 0: 2 * n}.get(lay["dp_shard_level"] if lay["dp_shard"] > 1 else 0, 2 * n / 64)
        return states - at["gradients"] + grads + extra * 0
    if r["full_bf16"]:
        states = 8 * p["num_parameters"]
    if r["mean"]:
        return states
    tokens = r["mbs"] * r["seq"] / cp / tp
    whole = 12 * h + 4 * k + 6 * f
    per_layer = {"none": whole, "full": 2 * h, "selective": 6 * h + 2 * k + 2 * f}[r["ac"]]
    here = layers / pp
    chunks = lay["chunks_per_rank"]
    flight = min(r["accumulation"], pp) if chunks == 1 else pp * (1 + (pp - 1) / (pp * chunks))
    acts = tokens * per_layer * here * flight + tokens * (whole if r["ac"] != "none" else 0)
    # DTensor keeps the whole rows that it gathered for the products of attention and feed-forward, and for the head.
    gathered_rows = 2 * h * r["mbs"] * r["seq"] / cp * (tp > 1)
    acts += gathered_rows * (2 * here * flight if r["ac"] == "none" else 2) + gathered_rows * (pp == 1)
    logits = 12 * s["vocab_size"] * r["mbs"] * r["seq"] / cp / tp if pp == 1 else 0
    gathered = at["gather_buffers"]
    if pp > 1 and lay["dp_shard"] * cp > 1:  # torchtitan keeps a pipeline's stages whole for the step
        gathered = 6 * p["num_parameters"] / pp / tp
    return r["slack"] * (states + gathered + acts + logits)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--fit", action="store_true")
    args = parser.parse_args()
    binary = pathlib.Path(args.bin).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if args.fit:
            low, high = 0.2, 1.0
            for _ in range(30):
                mid, error = (low + high) / 2, 0.0
                for r in (r for r in ROWS if r["note"] == "fitted"):
                    p, ranks = plan(binary, r, folder, mid)
                    error += math.log(p["time"]["tokens_per_second"] / ranks / r["tokens"])
                low, high = (low, mid) if error > 0 else (mid, high)
            print(f"efficiency {mid:.3f}")
            return
        good = {"time": [0, 0], "memory": [0, 0]}
        print("| row | run | throughput: published | planned | error | memory: published | planned | error | note |")
        print("|---|---|---|---|---|---|---|---|---|")
        for r in ROWS:
            p, ranks = plan(binary, r, folder)
            cells = [r["no"], r["name"]]
            t = p["time"]
            if r["tokens"] or r["step"]:
                theirs = r["tokens"] or r["step"]
                ours = t["tokens_per_second"] / ranks if r["tokens"] else t["step_seconds"]
                error = (ours / theirs if r["tokens"] else theirs / ours) - 1
                unit = "tokens/s" if r["tokens"] else "s"
                cells += [f"{theirs:,.4g} {unit}", f"{ours:,.4g}", f"{100 * error:+.0f} %"]
                if r["note"] != "fitted":
                    good["time"][1] += 1
                    good["time"][0] += abs(error) <= 0.2
            else:
                cells += ["", "", ""]
            if r["bytes"]:
                ours = their_bytes(r, p, ranks)
                error = ours / r["bytes"] - 1
                cells += [f"{r['bytes'] / GB:.1f} GB", f"{ours / GB:.1f}", f"{100 * error:+.0f} %"]
                good["memory"][1] += 1
                good["memory"][0] += abs(error) <= 0.15
            else:
                cells += ["", "", ""]
            print("| " + " | ".join(cells + [r["note"]]) + " |")
        for what, bound in (("time", 20), ("memory", 15)):
            print(f"\n{what}: {good[what][0]} of {good[what][1]} within {bound} %", end="")
        print()


if __name__ == "__main__":
    main()
