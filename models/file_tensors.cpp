#include "models/file_tensors.h"

#include <cstring>

#include "core/error.h"

namespace hone::models {

FileTensors list_tensors(const formats::WeightFiles& files) {
  FileTensors tensors;
  for (const formats::WeightTensor& tensor : files.tensors()) {
    tensors[tensor.name] = {tensor.dtype, tensor.shape, files.bytes(tensor)};
  }
  return tensors;
}

FileTensors list_tensors(const formats::SafetensorsFile& file) {
  FileTensors tensors;
  for (const formats::TensorEntry& tensor : file.tensors()) {
    tensors[tensor.name] = {tensor.dtype, tensor.shape, file.bytes(tensor)};
  }
  return tensors;
}

formats::SafetensorsFile open_adapter_file(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "adapter_model.safetensors";
  if (!std::filesystem::exists(path) && std::filesystem::exists(folder / "adapter_model.bin")) {
    core::fail(core::ErrorKind::kBadInput,
               {.what = "pickled adapters are not read",
                .where = (folder / "adapter_model.bin").string(),
                .hint = "save it with safe_serialization as adapter_model.safetensors"});
  }
  return formats::SafetensorsFile::open(path);
}

bool is_float_dtype(formats::Dtype dtype) {
  return dtype == formats::Dtype::kF32 || dtype == formats::Dtype::kF16 ||
         dtype == formats::Dtype::kBF16;
}

at::ScalarType scalar_type(formats::Dtype dtype) {
  switch (dtype) {
    case formats::Dtype::kF32:
      return at::kFloat;
    case formats::Dtype::kF16:
      return at::kHalf;
    case formats::Dtype::kBF16:
      return at::kBFloat16;
    default:
      core::fail(core::ErrorKind::kInternal, {.what = "no tensor type for this dtype",
                                              .got = std::string(formats::dtype_name(dtype))});
  }
}

at::Tensor mapped_tensor(const FileTensor& tensor) {
  const auto options = at::TensorOptions().dtype(scalar_type(tensor.dtype));
  const size_t element = c10::elementSize(scalar_type(tensor.dtype));
  if (reinterpret_cast<uintptr_t>(tensor.bytes.data()) % element == 0) {
    // from_blob asks for a mutable pointer; the tensor is only read.
    return at::from_blob(const_cast<std::byte*>(tensor.bytes.data()), tensor.shape, options);
  }
  at::Tensor copy = at::empty(tensor.shape, options);
  std::memcpy(copy.mutable_data_ptr(), tensor.bytes.data(), tensor.bytes.size());
  return copy;
}

}  // namespace hone::models
