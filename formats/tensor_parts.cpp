#include "formats/tensor_parts.h"

#include "core/error.h"

namespace hone::formats {

using core::ErrorKind;
using core::fail;

TensorIndex index_by_name(const std::vector<TensorEntry>& tensors) {
  TensorIndex index;
  index.reserve(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) index[tensors[i].name] = i;
  return index;
}

uint64_t place_of_part(const std::vector<TensorEntry>& tensors, const TensorIndex& index,
                       const std::string& name, uint64_t offset, uint64_t num_bytes,
                       const std::filesystem::path& path) {
  const auto found = index.find(name);
  if (found == index.end()) {
    fail(ErrorKind::kInternal,
         {.what = "tensor is not in the file's plan", .where = path.string() + ": " + name});
  }
  const TensorEntry& tensor = tensors[found->second];
  if (offset > tensor.num_bytes() || num_bytes > tensor.num_bytes() - offset) {
    fail(ErrorKind::kInternal,
         {.what = "part is outside its tensor",
          .where = path.string() + ": " + name,
          .got = std::to_string(num_bytes) + " bytes at " + std::to_string(offset),
          .expected = "inside " + std::to_string(tensor.num_bytes())});
  }
  return tensor.begin + offset;
}

}  // namespace hone::formats
