// Safetensors files that the ranks of a run write together, each what it keeps.
#pragma once

#include <deque>
#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include "formats/safetensors_ranges.h"
#include "models/load.h"

namespace hone::trainer {

struct TensorFile {
  std::filesystem::path path;  // in the folder
  formats::SafetensorsPlan plan;
  std::vector<models::NamedTensor> tensors;
};

// As the plan of a file sees it.
formats::TensorSpec spec_of(const models::NamedTensor& tensor);

TensorFile plan_tensor_file(const std::filesystem::path& path,
                            std::vector<models::NamedTensor> tensors);

// The bytes of all tensors, over all ranks.
int64_t num_data_bytes(const std::vector<TensorFile>& files);

// By one rank, before the others open them.
void create_tensor_files(const std::filesystem::path& folder, const std::vector<TensorFile>& files);

// This rank's ranges of files that are there. The tensors are not needed any more once the object
// is made; what it wrote is on the disk after sync, and on its way there before: a file is synced
// while the next is written. Both throw kIo.
class TensorFileWriter {
 public:
  TensorFileWriter(const std::filesystem::path& folder, const std::vector<TensorFile>& files);
  void sync();

 private:
  std::deque<formats::RangeWriter> writers_;  // stay where they are
  std::vector<std::future<void>> syncs_;      // of each, in threads of their own
};

}  // namespace hone::trainer
