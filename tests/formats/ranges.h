// A file that several writers share: its tensors, their bytes, and which of them are whose.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "formats/safetensors_ranges.h"

namespace hone::formats {

// Odd sizes, an empty tensor, a scalar, all sizes of element.
inline std::vector<TensorSpec> range_tensors() {
  return {{"w", Dtype::kF32, {37, 1001}},     {"odd", Dtype::kU8, {65'537}},
          {"half", Dtype::kBF16, {3, 7, 11}}, {"empty", Dtype::kF32, {0, 5}},
          {"scalar", Dtype::kI64, {}},        {"byte", Dtype::kU8, {1}}};
}

// The data of one tensor: never zero, which is what a byte that nobody wrote is.
inline std::vector<std::byte> range_bytes(const TensorEntry& tensor) {
  std::vector<std::byte> bytes(tensor.num_bytes());
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(1 + (i * 2'654'435'761U + tensor.begin) % 255);
  }
  return bytes;
}

// Writer `part` of `num_parts` has every num_parts-th run of 1009 bytes of each tensor, counted
// from its own number, so ranges start inside elements; it writes them last to first.
inline void write_ranges(RangeWriter& writer, const SafetensorsPlan& plan, uint64_t part,
                         uint64_t num_parts) {
  constexpr uint64_t kRun = 1009;
  for (auto tensor = plan.tensors.rbegin(); tensor != plan.tensors.rend(); ++tensor) {
    const std::vector<std::byte> bytes = range_bytes(*tensor);
    const uint64_t num_runs = (bytes.size() + kRun - 1) / kRun;
    for (uint64_t run = num_runs; run-- > 0;) {
      if (run % num_parts != part) continue;
      const uint64_t begin = run * kRun;
      const uint64_t size = std::min<uint64_t>(kRun, bytes.size() - begin);
      writer.write(tensor->name, begin, std::span(bytes).subspan(begin, size));
    }
  }
}

}  // namespace hone::formats
