// One super-block of 256 values in ggml's K types; used by gguf_quantize.cpp.
#pragma once

#include <cstdint>

namespace hone::formats {

void quantize_block_q4_k(const float* x, uint8_t* block);  // 144 bytes
void quantize_block_q6_k(const float* x, uint8_t* block);  // 210 bytes

}  // namespace hone::formats
