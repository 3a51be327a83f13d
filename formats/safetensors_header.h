// The JSON header of a safetensors file, checked rule by rule.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/safetensors.h"

namespace hone::formats {

struct SafetensorsHeader {
  Metadata metadata;
  std::vector<TensorEntry> tensors;  // by offset; offsets from the start of the file
};

// `json` starts at byte 8 of a file of `file_bytes` bytes. Throws kBadInput naming `file`, the
// tensor and its offsets.
SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t file_bytes,
                                           const std::string& file);

}  // namespace hone::formats
