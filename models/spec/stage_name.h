// What the stages of a decoder are called.
#pragma once

#include <cstdint>
#include <string>

namespace hone::models {

// "embed", "layers.0", ..., "head".
inline std::string stage_name(int64_t index, int64_t num_stages) {
  if (index == 0) return "embed";
  if (index == num_stages - 1) return "head";
  return "layers." + std::to_string(index - 1);
}

}  // namespace hone::models
