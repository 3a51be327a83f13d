// model.safetensors.index.json beside two good shards: an accepted index maps every tensor to the
// shard that has it, and survives being written again.
#include "core/json.h"
#include "formats/weight_files.h"
#include "tests/fuzz/target.h"

namespace hone::fuzz {
namespace {

constexpr const char* kIndex = "model/model.safetensors.index.json";

void write_shard(const std::string& name, const std::vector<formats::TensorSpec>& tensors) {
  const auto path = write_scratch("model/" + name, "");
  formats::SafetensorsWriter writer(path, formats::plan_safetensors(tensors));
  const std::vector<std::byte> zeros(16);
  for (const formats::TensorSpec& tensor : tensors) writer.write(tensor.name, zeros);
  writer.commit();
}

bool write_shards() {
  write_shard("model-00001-of-00002.safetensors",
              {{"a", formats::Dtype::kF32, {2, 2}}, {"b", formats::Dtype::kF32, {4}}});
  write_shard("model-00002-of-00002.safetensors", {{"c", formats::Dtype::kBF16, {8}}});
  return true;
}

}  // namespace

void fuzz_index(std::string_view input) {
  static const bool once = write_shards();
  write_scratch(kIndex, input);
  accepts(
      [&] {
        const formats::WeightFiles files = formats::open_weight_files(scratch_folder() / "model");
        require(once && files.has_index(), "the index was not read");
        std::vector<formats::TensorSpec> tensors;
        for (const formats::WeightTensor& t : files.tensors()) {
          require(files.bytes(t).size() == t.num_bytes, "a tensor has other bytes");
          tensors.push_back({t.name, t.dtype, t.shape});
        }
        const std::string text =
            formats::shard_index_json(formats::plan_shards_like(files, tensors));
        write_scratch(kIndex, text);
        const formats::WeightFiles again = formats::open_weight_files(scratch_folder() / "model");
        require(again.tensors().size() == files.tensors().size(), "the index lost a tensor");
      },
      {core::ErrorKind::kBadInput, core::ErrorKind::kMissingInput});
}

}  // namespace hone::fuzz
