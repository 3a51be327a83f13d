// Tensors of a file by name, and where parts of them lie in it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "formats/safetensors.h"

namespace hone::formats {

using TensorIndex = std::unordered_map<std::string, size_t>;  // name to number

TensorIndex index_by_name(const std::vector<TensorEntry>& tensors);

// Where in the file bytes [offset, offset + num_bytes) of a tensor's data start. Throws kInternal
// for an unknown name or bytes past the tensor's end; `path` is for the error.
uint64_t place_of_part(const std::vector<TensorEntry>& tensors, const TensorIndex& index,
                       const std::string& name, uint64_t offset, uint64_t num_bytes,
                       const std::filesystem::path& path);

}  // namespace hone::formats
