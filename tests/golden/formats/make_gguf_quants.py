"""Writes gguf_quants.safetensors: blocks of every ggml type and what the Python package gguf dequantises them to.

python tests/golden/formats/make_gguf_quants.py     (gguf 0.19, numpy 2)
"""

import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

rng = np.random.default_rng(7)
# Byte offsets of the float16 scales in a block; all other bytes may be random.
HALVES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q2_K: [80, 82], T.Q3_K: [108],
    T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
}
tensors = {}
for kind, halves in HALVES.items():
    elements, size = GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (4 if elements == 256 else 16, size), dtype=np.uint8)
    for offset in halves:
        scale = rng.normal(0, 0.05, len(blocks)).astype(np.float16)
        scale[0] = 6e-7  # subnormal
        blocks[:, offset:offset + 2] = scale.view(np.uint8).reshape(-1, 2)
    tensors[f"{kind.name}.blocks"] = blocks
    tensors[f"{kind.name}.values"] = dequantize(blocks, kind).reshape(-1)
for kind in (T.F32, T.F16, T.BF16):
    values = rng.normal(0, 1, 64).astype(np.float32)
    blocks = quantize(values, kind) if kind == T.BF16 else values.astype(np.float16 if kind == T.F16 else np.float32)
    tensors[f"{kind.name}.blocks"] = np.ascontiguousarray(blocks).view(np.uint8)
    tensors[f"{kind.name}.values"] = dequantize(blocks, kind).reshape(-1)
save_file(tensors, pathlib.Path(__file__).parent / "gguf_quants.safetensors")
