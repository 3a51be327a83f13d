"""Writes tiny.gguf, a one-layer llama with a byte-level BPE vocabulary, and tiny_expected.safetensors, its tensors as a
Hugging Face folder has them.

python tests/golden/formats/make_gguf_model.py     (gguf 0.19, numpy 2)

The rows of q_proj and k_proj are moved as llama.cpp's convert_hf_to_gguf.py moves them.
"""

import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
HIDDEN, HEADS, KV_HEADS, INNER = 32, 4, 2, 64
DIM = HIDDEN // HEADS
rng = np.random.default_rng(3)


def byte_alphabet():
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in kept]
    table = {b: chr(b) for b in kept} | {b: chr(256 + i) for i, b in enumerate(others)}
    return [table[b] for b in range(256)]


def move_rows(weight, heads):
    return weight.reshape(heads, 2, DIM // 2, -1).swapaxes(1, 2).reshape(weight.shape)


specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
merges = ["Ġ t", "h e", "Ġt he", "c o", "s t", "co st"]
tokens = specials + byte_alphabet() + [m.replace(" ", "") for m in merges] + ["<tool>"]
types = [3] * 3 + [1] * (256 + len(merges)) + [4]

writer = gguf.GGUFWriter(HERE / "tiny.gguf", "llama")
writer.add_name("Tiny")
writer.add_license("apache-2.0")
writer.add_languages(["en"])
writer.add_block_count(1)
writer.add_context_length(128)
writer.add_embedding_length(HIDDEN)
writer.add_feed_forward_length(INNER)
writer.add_head_count(HEADS)
writer.add_head_count_kv(KV_HEADS)
writer.add_rope_freq_base(100000.0)
writer.add_rope_dimension_count(DIM)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre("smollm")
writer.add_token_list(tokens)
writer.add_token_types(types)
writer.add_token_merges(merges)
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
writer.add_unk_token_id(0)
writer.add_pad_token_id(2)
writer.add_add_bos_token(False)
writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")

expected = {}


def add(gguf_name, name, shape, kind=T.F32, heads=0):
    values = rng.normal(0, 1, shape).astype(np.float32)
    stored = quantize(values, kind)
    exact = dequantize(stored, kind).reshape(shape)
    expected[name] = exact.copy()
    if heads:  # rows are whole blocks, so moving stored rows moves values
        stored = move_rows(stored, heads)
    writer.add_tensor(gguf_name, stored, raw_dtype=kind)


add("token_embd.weight", "model.embed_tokens.weight", (len(tokens), HIDDEN), T.Q8_0)
layer, target = "blk.0.", "model.layers.0."
add(layer + "attn_norm.weight", target + "input_layernorm.weight", (HIDDEN,))
add(layer + "attn_q.weight", target + "self_attn.q_proj.weight", (HEADS * DIM, HIDDEN), T.Q4_1, HEADS)
add(layer + "attn_k.weight", target + "self_attn.k_proj.weight", (KV_HEADS * DIM, HIDDEN), T.F32, KV_HEADS)
add(layer + "attn_v.weight", target + "self_attn.v_proj.weight", (KV_HEADS * DIM, HIDDEN), T.F16)
add(layer + "attn_output.weight", target + "self_attn.o_proj.weight", (HIDDEN, HEADS * DIM), T.BF16)
add(layer + "ffn_norm.weight", target + "post_attention_layernorm.weight", (HIDDEN,))
add(layer + "ffn_gate.weight", target + "mlp.gate_proj.weight", (INNER, HIDDEN), T.Q4_0)
add(layer + "ffn_up.weight", target + "mlp.up_proj.weight", (INNER, HIDDEN), T.Q5_1)
add(layer + "ffn_down.weight", target + "mlp.down_proj.weight", (HIDDEN, INNER), T.Q4_1)
add("output_norm.weight", "model.norm.weight", (HIDDEN,))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
save_file(expected, HERE / "tiny_expected.safetensors")
