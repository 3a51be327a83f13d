// Rotary position embedding tables (arXiv:2104.09864), scaled as transformers does.
#pragma once

#include <ATen/ATen.h>

#include <utility>

#include "models/spec/model_spec.h"

namespace hone::models {

// float32 [N/2] inverse frequencies of a head of N: default, linear (positions divided by factor),
// or llama3 (Llama 3.1: long wavelengths divided by factor, with a smooth passage).
at::Tensor inverse_frequencies(const RopeSpec& rope, int64_t head_dim);

// (cos, sin), float32 [T, N/2], of integer positions [T].
std::pair<at::Tensor, at::Tensor> rope_tables(const RopeSpec& rope, int64_t head_dim,
                                              const at::Tensor& positions_T);

}  // namespace hone::models
