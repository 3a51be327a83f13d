#include "models/flat_memory.h"

#include <c10/core/Storage.h>

#include "core/error.h"

namespace hone::models {
namespace {

c10::StorageImpl& storage_of(const at::Tensor& flat) {
  return *flat.storage().unsafeGetStorageImpl();
}

void release_tensor(void* tensor) { delete static_cast<at::Tensor*>(tensor); }

}  // namespace

at::Tensor flat_without_memory(int64_t count, at::ScalarType dtype, at::Device device) {
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  at::Tensor flat = at::empty({0}, options);
  const auto bytes = static_cast<size_t>(count) * c10::elementSize(dtype);
  const c10::Storage storage(c10::Storage::use_byte_size_t(), bytes, c10::DataPtr(nullptr, device));
  flat.set_(storage, 0, {count}, {1});
  return flat;
}

void attach_memory(const at::Tensor& flat, const at::Tensor& memory) {
  const bool fits = memory.scalar_type() == flat.scalar_type() && memory.is_contiguous() &&
                    memory.numel() == flat.numel() && memory.device() == flat.device();
  if (!fits) {
    core::fail(core::ErrorKind::kInternal,
               {.what = "memory that does not fit a flat buffer",
                .got = std::to_string(memory.numel()) + " elements",
                .expected = std::to_string(flat.numel()) + " elements"});
  }
  auto* const owner = new at::Tensor(memory);
  storage_of(flat).set_data_ptr_noswap(
      c10::DataPtr(owner->mutable_data_ptr(), owner, &release_tensor, flat.device()));
}

void detach_memory(const at::Tensor& flat) {
  storage_of(flat).set_data_ptr_noswap(c10::DataPtr(nullptr, flat.device()));
}

bool has_memory(const at::Tensor& flat) {
  return flat.numel() == 0 || flat.storage().data() != nullptr;
}

}  // namespace hone::models
