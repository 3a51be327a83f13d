"""Writes gguf_quantize.safetensors: float32 values and the blocks that ggml makes of them.

python tests/golden/formats/make_gguf_quantize.py LIBGGML_BASE.so     (gguf 0.19, numpy 2; the library of llama.cpp in
@node-llama-cpp/linux-x64 3.22.1)
"""

import ctypes
import pathlib
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import quantize
from safetensors.numpy import save_file

library = ctypes.CDLL(sys.argv[1])
library.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
                                        ctypes.c_int64, ctypes.c_void_p]
library.ggml_quantize_chunk.restype = ctypes.c_size_t

rng = np.random.default_rng(11)
x = rng.normal(0, 0.05, (14, 256)).astype(np.float32)
x[0] = 0
x[1] = 1e-9
x[2] = np.abs(x[2])
x[3] = -np.abs(x[3])
x[4] *= 1e4
x[5, 7] = 30  # one outlier
x[6] = np.round(x[6], 2)  # ties
x[7] = 3.5
x[8] = -3.5
x[9] *= 1e-6
x[10, :32] = 0
x[11] = np.where(np.arange(256) % 2 == 0, 0.25, -0.25)
tensors = {"values": x}
for kind in (T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q5_0, T.Q4_K, T.Q6_K):
    elements, size = GGML_QUANT_SIZES[kind]
    blocks = np.zeros(x.size // elements * size, np.uint8)
    library.ggml_quantize_chunk(int(kind), x.ctypes.data, blocks.ctypes.data, 0, len(x), 256, None)
    if kind not in (T.Q4_K, T.Q6_K):  # the Python package can't make these two
        assert np.array_equal(blocks, np.ascontiguousarray(quantize(x, kind)).view(np.uint8).reshape(-1)), kind
    tensors[kind.name] = blocks
save_file(tensors, pathlib.Path(__file__).parent / "gguf_quantize.safetensors")
