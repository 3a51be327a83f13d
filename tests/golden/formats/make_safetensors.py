"""Writes safetensors_reference.safetensors with the Python package: hone's writer must give the same bytes.

python tests/golden/formats/make_safetensors.py     (safetensors 0.8.0, numpy 2)
"""

import pathlib

import numpy as np
from safetensors.numpy import save_file

tensors = {
    "b.weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 4,
    "a.weight": np.arange(4, dtype=np.float32),
    "half": np.array([1.5, -2.0, 65504.0], dtype=np.float16),
    "bytes": np.array([1, 2, 3], dtype=np.uint8),
    "flags": np.array([True, False]),
    "longs": np.array([[-1], [2**40]], dtype=np.int64),
    "doubles": np.array([0.1]),
    "ints": np.array([7, -7], dtype=np.int32),
    "scalar": np.array(2.5, dtype=np.float32),
    "empty": np.zeros((0, 4), dtype=np.float32),
    "näme \"quoted\"": np.array([9], dtype=np.uint16),
}
path = pathlib.Path(__file__).parent / "safetensors_reference.safetensors"
save_file(tensors, path, metadata={"format": "pt"})
print(path.read_bytes()[8:].split(b"}}")[0].decode())
