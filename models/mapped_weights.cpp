#include "models/mapped_weights.h"

#include <algorithm>
#include <array>

namespace hone::models {
namespace {

constexpr std::array<std::string_view, 3> kQkv = {"q_proj", "k_proj", "v_proj"};
constexpr std::array<std::string_view, 2> kGateUp = {"gate_proj", "up_proj"};

// The keys that `key` is computed together with, itself among them, in the order of the product.
std::vector<std::string> fused_with(const std::string& key) {
  for (const std::span<const std::string_view> group :
       {std::span<const std::string_view>(kQkv), std::span<const std::string_view>(kGateUp)}) {
    for (const std::string_view name : group) {
      const size_t at = key.find(name);
      if (at == std::string::npos) continue;
      std::vector<std::string> keys;
      for (const std::string_view other : group) {
        keys.push_back(std::string(key).replace(at, name.size(), other));
      }
      return keys;
    }
  }
  return {key};
}

class Mapper {
 public:
  Mapper(const FileTensors& files, const Family& family, at::ScalarType type,
         const std::shared_ptr<const formats::WeightFiles>& owner)
      : files_(files), family_(family), type_(type), owner_(owner) {}

  at::Tensor map(const PlannedParameter& planned) {
    const auto keys = fused_with(planned.source_name);
    for (size_t i = 0; i < keys.size(); ++i) {
      const FileTensor* tensor = find(keys[i]);
      if (tensor == nullptr || !is_usable(*tensor)) return {};
      if (i == 0) continue;
      const FileTensor& before = *find(keys[i - 1]);
      if (before.file != tensor->file || before.entry->end != tensor->entry->begin) return {};
    }
    const FileTensor& tensor = *find(planned.source_name);
    const auto offset = static_cast<int64_t>(tensor.entry->begin / c10::elementSize(type_));
    return whole(*tensor.file).narrow(0, offset, planned.num_held()).view(planned.shape);
  }

 private:
  const FileTensor* find(const std::string& key) const {
    const auto found = files_.find(family_.file_name(key));
    return found == files_.end() ? nullptr : &found->second;
  }

  bool is_usable(const FileTensor& tensor) const {
    return is_float_dtype(tensor.dtype) && scalar_type(tensor.dtype) == type_ &&
           tensor.entry->begin % c10::elementSize(type_) == 0;
  }

  // One tensor over a whole file, so that neighbours are views of one storage.
  at::Tensor& whole(const formats::SafetensorsFile& file) {
    at::Tensor& tensor = whole_[&file];
    if (!tensor.defined()) {
      const auto bytes = file.map();
      const auto count = static_cast<int64_t>(bytes.size() / c10::elementSize(type_));
      // from_blob asks for a mutable pointer; the tensor is only read.
      tensor = at::from_blob(
          const_cast<std::byte*>(bytes.data()), {count}, [owner = owner_](void*) {},
          at::TensorOptions().dtype(type_));
    }
    return tensor;
  }

  const FileTensors& files_;
  const Family& family_;
  const at::ScalarType type_;
  const std::shared_ptr<const formats::WeightFiles>& owner_;
  std::unordered_map<const formats::SafetensorsFile*, at::Tensor> whole_;
};

}  // namespace

MappedWeights map_frozen_weights(std::span<const PlannedParameter> plan, const FileTensors& files,
                                 const Family& family, at::ScalarType compute_dtype,
                                 const std::shared_ptr<const formats::WeightFiles>& owner) {
  MappedWeights weights;
  Mapper mapper(files, family, compute_dtype, owner);
  for (const PlannedParameter& planned : plan) {
    if (planned.trainable || planned.source != ParameterSource::kBaseFile) continue;
    if (!planned.is_held || planned.held_shape() != planned.shape) continue;
    if (at::Tensor value = mapper.map(planned); value.defined()) weights[planned.key] = value;
  }
  return weights;
}

}  // namespace hone::models
