#include "models/file_tensors.h"

#include <ATen/Parallel.h>

#include <cstring>

#include "core/error.h"

namespace hone::models {
namespace {

constexpr int64_t kPieceElements = int64_t{1} << 17;

// Elements [from, from + to.numel()) of the file's tensor.
void read_piece(const FileTensor& tensor, int64_t from, at::Tensor to) {
  const at::ScalarType type = scalar_type(tensor.dtype);
  const bool direct = to.scalar_type() == type;
  at::Tensor piece = direct ? to : at::empty({to.numel()}, at::TensorOptions().dtype(type));
  tensor.file->read(*tensor.entry, static_cast<uint64_t>(from) * c10::elementSize(type),
                    {static_cast<std::byte*>(piece.mutable_data_ptr()), piece.nbytes()});
  if (!direct) to.copy_(piece);
}

}  // namespace

FileTensors list_tensors(const formats::WeightFiles& files) {
  FileTensors tensors;
  for (const formats::WeightTensor& tensor : files.tensors()) {
    const formats::SafetensorsFile& file = files.files()[tensor.file];
    tensors[tensor.name] = {tensor.dtype, tensor.shape, files.bytes(tensor), &file,
                            &file.tensors()[tensor.entry]};
  }
  return tensors;
}

FileTensors list_tensors(const formats::SafetensorsFile& file) {
  FileTensors tensors;
  for (const formats::TensorEntry& tensor : file.tensors()) {
    tensors[tensor.name] = {tensor.dtype, tensor.shape, file.bytes(tensor), &file, &tensor};
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

void read_elements(const FileTensor& tensor, int64_t begin, at::Tensor& target) {
  const at::Tensor flat = target.view({-1});
  if (!target.is_cpu()) {
    flat.copy_(mapped_tensor(tensor).view({-1}).narrow(0, begin, flat.numel()));
    return;
  }
  const int64_t num_pieces = (flat.numel() + kPieceElements - 1) / kPieceElements;
  at::parallel_for(0, num_pieces, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t from = i * kPieceElements;
      const int64_t size = std::min(kPieceElements, flat.numel() - from);
      read_piece(tensor, begin + from, flat.narrow(0, from, size));
    }
  });
}

void read_runs(const FileTensor& tensor, std::span<const parallel::SliceRun> runs,
               int64_t slice_begin, at::Tensor& target) {
  const at::Tensor flat = target.view({-1});
  const auto place = [&](const parallel::SliceRun& run) {
    return flat.narrow(0, run.slice_begin - slice_begin, run.count);
  };
  if (runs.size() == 1) {
    at::Tensor all = place(runs.front());
    return read_elements(tensor, runs.front().whole_begin, all);
  }
  // Many short ones, each a row of a matrix.
  if (!target.is_cpu()) {
    const at::Tensor whole = mapped_tensor(tensor).view({-1});
    for (const parallel::SliceRun& run : runs)
      place(run).copy_(whole.narrow(0, run.whole_begin, run.count));
    return;
  }
  at::parallel_for(0, static_cast<int64_t>(runs.size()), 64, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const parallel::SliceRun& run = runs[static_cast<size_t>(i)];
      read_piece(tensor, run.whole_begin, place(run));
    }
  });
}

}  // namespace hone::models
