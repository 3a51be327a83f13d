"""Runs a transformers model wholly in float64.

transformers' modelling code casts to float32 inside (RMSNorm, softmax, RoPE), so model.double() alone is no float64
reference. In this context those casts go to float64, and RoPE's frequencies are computed in float64.
"""

import contextlib

import torch


@contextlib.contextmanager
def float64():
    saved = (torch.float32, torch.float, torch.Tensor.float, torch.get_default_dtype())
    torch.set_default_dtype(torch.float64)
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = saved[:3]
        torch.set_default_dtype(saved[3])


def to_float64(model):
    """Casts `model` and recomputes its RoPE frequencies in float64. Call inside float64()."""
    model.double()
    for module in model.modules():
        if hasattr(module, "inv_freq"):
            build = module.compute_default_rope_parameters
            if module.rope_type != "default":
                from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

                build = ROPE_INIT_FUNCTIONS[module.rope_type]
            module.inv_freq = build(module.config)[0].to(torch.float64)
    assert all(p.dtype == torch.float64 for p in model.parameters())
    return model
