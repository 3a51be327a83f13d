// The tensors of weight files by name, and as LibTorch sees them.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "formats/weight_files.h"
#include "parallel/tensor_slice.h"

namespace hone::models {

struct FileTensor {
  formats::Dtype dtype = formats::Dtype::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // in the map of the file it came from
  const formats::SafetensorsFile* file = nullptr;
  const formats::TensorEntry* entry = nullptr;
};

using FileTensors = std::map<std::string, FileTensor>;

// Valid while the files are open.
FileTensors list_tensors(const formats::WeightFiles& files);
FileTensors list_tensors(const formats::SafetensorsFile& file);

// adapter_model.safetensors of a PEFT folder. Throws kMissingInput, with a word on pickled
// adapters.
formats::SafetensorsFile open_adapter_file(const std::filesystem::path& folder);

// F32, F16, BF16 only; both throw kInternal for others.
at::ScalarType scalar_type(formats::Dtype dtype);
bool is_float_dtype(formats::Dtype dtype);

// A tensor over the mapped bytes (copied where they are not aligned to the dtype): not to be
// written to, nor to outlive the file.
at::Tensor mapped_tensor(const FileTensor& tensor);

// Fills `target` (contiguous, any floating dtype and device) with the elements of the file's tensor
// from `begin` on, by all cores. On a CPU nothing of the file stays in memory: bytes are read
// straight into `target`, or in small pieces where the dtype differs. Throws kIo.
void read_elements(const FileTensor& tensor, int64_t begin, at::Tensor& target);

// The same for runs of the file's tensor; the run that begins at `slice_begin` goes to element 0.
void read_runs(const FileTensor& tensor, std::span<const parallel::SliceRun> runs,
               int64_t slice_begin, at::Tensor& target);

}  // namespace hone::models
