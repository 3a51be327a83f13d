#include "trainer/tensor_files.h"

#include "core/files.h"

namespace hone::trainer {
namespace fs = std::filesystem;

formats::TensorSpec spec_of(const models::NamedTensor& tensor) {
  return {tensor.name, formats::parse_dtype(tensor.dtype, tensor.name), tensor.shape};
}

TensorFile plan_tensor_file(const fs::path& path, std::vector<models::NamedTensor> tensors) {
  std::vector<formats::TensorSpec> specs;
  for (const models::NamedTensor& tensor : tensors) {
    specs.push_back(spec_of(tensor));
  }
  return {path, formats::plan_safetensors(specs), std::move(tensors)};
}

int64_t num_data_bytes(const std::vector<TensorFile>& files) {
  uint64_t bytes = 0;
  for (const TensorFile& file : files) {
    for (const formats::TensorEntry& entry : file.plan.tensors) bytes += entry.num_bytes();
  }
  return static_cast<int64_t>(bytes);
}

void create_tensor_files(const fs::path& folder, const std::vector<TensorFile>& files) {
  for (const TensorFile& file : files) {
    core::make_folders((folder / file.path).parent_path());
    formats::create_planned_file(folder / file.path, file.plan);
  }
}

TensorFileWriter::TensorFileWriter(const fs::path& folder, const std::vector<TensorFile>& files) {
  for (const TensorFile& file : files) {
    formats::RangeWriter& writer = writers_.emplace_back(folder / file.path, file.plan);
    for (const models::NamedTensor& tensor : file.tensors) {
      if (tensor.runs.empty()) continue;
      const at::Tensor part = tensor.get();
      const auto* const bytes = static_cast<const std::byte*>(part.const_data_ptr());
      const auto element = static_cast<int64_t>(part.element_size());
      for (const parallel::SliceRun& run : tensor.runs) {
        writer.write(tensor.name, static_cast<uint64_t>(run.whole_begin * element),
                     {bytes + run.slice_begin * element, static_cast<size_t>(run.count * element)});
      }
    }
    syncs_.push_back(std::async(std::launch::async, [&writer] { writer.sync(); }));
  }
}

void TensorFileWriter::sync() {
  for (std::future<void>& synced : syncs_) synced.wait();
  for (std::future<void>& synced : syncs_) synced.get();
}

}  // namespace hone::trainer
