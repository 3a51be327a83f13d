// From float32 to ggml's tensor types, by the algorithms of ggml's reference quantisers
// (quantize_row_*_ref), bit for bit.
// https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c
#pragma once

#include <cstddef>
#include <span>

#include "formats/gguf_quants.h"

namespace hone::formats {

// F32, F16, BF16, Q8_0, Q4_0, Q5_0, Q4_K, Q6_K.
bool can_quantize(GgmlType type);

// `from` holds finite values of whole blocks, `to` has exactly their bytes. Throws kInternal when
// the sizes do not fit or the type can't be made.
void quantize(GgmlType type, std::span<const float> from, std::span<std::byte> to);

}  // namespace hone::formats
