// A GGUF file: its tensors are inside it and can be dequantised, and what the import makes of it is
// a folder that our own readers take.
#include "formats/gguf.h"

#include "core/files.h"
#include "formats/gguf_import.h"
#include "formats/weight_files.h"
#include "models/spec/model_spec.h"
#include "tests/fuzz/target.h"

namespace hone::fuzz {
namespace {

using core::ErrorKind;

void check_tensors(const formats::GgufFile& file) {
  std::vector<float> values;
  for (const formats::GgufTensor& tensor : file.tensors()) {
    require(file.find_tensor(tensor.name) == &tensor, "a tensor is not found by its name");
    const formats::GgmlTypeInfo& info = formats::ggml_type_info(tensor.type);
    const auto bytes = file.bytes(tensor);
    require(bytes.size() % info.block_bytes == 0, "a tensor does not hold whole blocks");
    values.resize(bytes.size() / info.block_bytes * info.block_elements);
    formats::dequantize(tensor.type, bytes, values);
  }
}

void check_import(const std::filesystem::path& path) {
  const auto folder = scratch_folder() / "imported";
  core::remove_tree(folder);
  if (!accepts([&] { formats::import_gguf(path, folder); })) {
    require(!std::filesystem::exists(folder), "a refused import left a folder behind");
    return;
  }
  const models::ModelSpec spec = models::read_model_spec(folder);
  const formats::WeightFiles weights = formats::open_weight_files(folder);
  for (const models::ParameterSpec& parameter : models::parameter_table(spec)) {
    const formats::WeightTensor* tensor = weights.find(parameter.name);
    require(tensor != nullptr && tensor->shape == parameter.shape,
            "the import wrote another shape, or nothing, for " + parameter.name);
  }
}

}  // namespace

void fuzz_gguf(std::string_view input) {
  const auto path = write_scratch("input.gguf", input);
  if (!accepts([&] { check_tensors(formats::GgufFile::open(path)); })) return;
  check_import(path);
}

}  // namespace hone::fuzz
