// The LoRA term of an embedding, as PEFT computes it.
#pragma once

#include <ATen/ATen.h>

#include "kernels/ops.h"

namespace hone::models {

// y_TD = base_TD + scale * (a_RV[:, ids]^T b_DR^T). Gradients of a and b are added into their
// `grad`.
at::Tensor add_lora_embedding(const at::Tensor& base_TD, const at::Tensor& ids_T,
                              const kernels::Weight& a_RV, const kernels::Weight& b_DR,
                              double scale);

}  // namespace hone::models
