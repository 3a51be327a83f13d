// The weights of a model folder: model.safetensors, or model.safetensors.index.json and its shards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "formats/safetensors.h"

namespace hone::formats {

inline constexpr uint64_t kDefaultShardBytes = 5'000'000'000;

struct WeightTensor {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  size_t file = 0;   // index into WeightFiles::files()
  size_t entry = 0;  // index into that file's tensors()
  uint64_t num_bytes = 0;
};

class WeightFiles {
 public:
  // By file, then file order.
  const std::vector<WeightTensor>& tensors() const { return tensors_; }
  const WeightTensor* find(std::string_view name) const;  // nullptr if absent
  // The bytes in the memory map; valid while this object lives.
  std::span<const std::byte> bytes(const WeightTensor& tensor) const;
  const std::vector<SafetensorsFile>& files() const { return files_; }
  const std::vector<std::string>& file_names() const {
    return file_names_;
  }  // relative to the folder
  bool has_index() const { return has_index_; }
  uint64_t total_bytes() const { return total_bytes_; }  // of all tensors

 private:
  friend class WeightFilesBuilder;
  std::vector<std::string> file_names_;
  std::vector<SafetensorsFile> files_;
  std::vector<WeightTensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
  bool has_index_ = false;
  uint64_t total_bytes_ = 0;
};

// Opens every file and checks it and the index: shards exist, mapped tensors are in the mapped
// shard, no tensor is in two shards, paths stay inside the folder, total_size agrees. Throws
// kMissingInput or kBadInput with all problems of the index in one message; a folder with pickled
// weights only (pytorch_model.bin, *.pt, *.pth, *.ckpt) is refused by name.
WeightFiles open_weight_files(const std::filesystem::path& folder);

// Which tensors go into which file. One shard without an index is model.safetensors.
struct ShardPlan {
  struct Shard {
    std::string file_name;
    std::vector<TensorSpec> tensors;
  };
  std::vector<Shard> shards;
  bool has_index = false;
};

// New sharding: tensors in the given order fill shards of at most `max_bytes`; a larger tensor gets
// its own. File names
// "<stem>.safetensors" or "<stem>-00001-of-00005.safetensors".
ShardPlan plan_shards(const std::vector<TensorSpec>& tensors,
                      uint64_t max_bytes = kDefaultShardBytes, const std::string& stem = "model");
// The sharding of an input: every tensor goes where `like` has it; those it does not have go to the
// last shard.
ShardPlan plan_shards_like(const WeightFiles& like, const std::vector<TensorSpec>& tensors);
// The text of "<stem>.safetensors.index.json".
std::string shard_index_json(const ShardPlan& plan);

}  // namespace hone::formats
