// LoRA's dropout: a mask that is a pure function of (seed, stream, step, element), made again
// wherever it is needed.
#pragma once

#include "kernels/ops.h"
#include "kernels/simd/table.h"

namespace hone::kernels {

DropoutKey dropout_key(const Lora& lora);

// x * mask / (1 - p), elements counted along rows of contiguous x_TD, or as Lora
// says where that is a part of the whole input.
at::Tensor dropped(const at::Tensor& x_TD, const Lora& lora);

// into_TD += g_TD * mask / (1 - p), the backward of the above.
void add_dropped(at::Tensor& into_TD, const at::Tensor& g_TD, const Lora& lora);

// The mask / (1 - p) itself as float32 on the CPU, for an x of this size.
at::Tensor dropout_factors(int64_t rows, int64_t columns, const Lora& lora);

}  // namespace hone::kernels
