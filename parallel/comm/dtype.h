// Element types and reductions a communicator knows. Buffers are plain memory, so this folder needs
// no tensor library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace hone::parallel {

enum class DType { kFloat32, kBFloat16, kFloat16, kFloat64, kInt32, kInt64, kUInt8 };

// Sums of bfloat16 and float16 are formed in float32 and rounded once, to nearest even. A NaN in
// any rank's element gives NaN for sum, max and min. Integer sums wrap.
enum class ReduceOp { kSum, kMax, kMin };

size_t dtype_size(DType dtype);        // bytes of one element
const char* dtype_name(DType dtype);   // "float32", "bfloat16", ...
const char* reduce_name(ReduceOp op);  // "sum", "max", "min"

float bfloat16_to_float(uint16_t bits);
uint16_t float_to_bfloat16(float value);  // nearest even; NaN stays NaN
float float16_to_float(uint16_t bits);
uint16_t float_to_float16(float value);  // nearest even; overflow gives infinity

}  // namespace hone::parallel
