#include "formats/weight_files.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"

namespace hone::formats {
namespace fs = std::filesystem;
namespace {

std::string mapped_but(const std::string& tensor, const std::string& file, const char* fault,
                       const std::string& other = "") {
  return "tensor \"" + tensor + "\" is mapped to " + file + fault + other;
}

using core::ErrorKind;
using core::fail;

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";

// What is wrong with an index, gathered so that one run shows all of it.
struct Problems {
  std::vector<std::string> messages;
  bool only_missing = true;  // every problem is a file that is not there
  void add(std::string message, bool missing = false) {
    messages.push_back(std::move(message));
    only_missing = only_missing && missing;
  }
  void throw_if_any(const fs::path& where, const std::string& hint = "") const {
    if (messages.empty()) return;
    constexpr size_t kShown = 20;
    std::string text;
    for (size_t i = 0; i < std::min(messages.size(), kShown); ++i) {
      text += (i > 0 ? "; " : "") + messages[i];
    }
    if (messages.size() > kShown) {
      text += "; and " + std::to_string(messages.size() - kShown) + " more";
    }
    fail(only_missing ? ErrorKind::kMissingInput : ErrorKind::kBadInput,
         {.what = text, .where = where, .hint = hint});
  }
};

struct Index {
  std::vector<std::pair<std::string, std::string>> weight_map;  // tensor, file
  std::vector<std::string> file_names;                          // sorted, each once
  std::optional<uint64_t> total_size;
};

bool is_pickle(const fs::path& file) {
  const std::string extension = file.extension();
  if (extension == ".pt" || extension == ".pth" || extension == ".ckpt" || extension == ".pkl") {
    return true;
  }
  return extension == ".bin" && file.filename().string().starts_with("pytorch_model");
}

[[noreturn]] void fail_no_weights(const fs::path& folder) {
  if (!fs::is_directory(folder)) {
    fail(ErrorKind::kMissingInput, {.what = "model folder is not there", .where = folder});
  }
  std::vector<std::string> pickles, ggufs;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (is_pickle(entry.path())) pickles.push_back(entry.path().filename());
    if (entry.path().extension() == ".gguf") ggufs.push_back(entry.path().filename());
  }
  std::sort(pickles.begin(), pickles.end());
  if (!pickles.empty()) {
    fail(ErrorKind::kBadInput,
         {.what = "the weights are pickled, and loading a pickle can run any code",
          .where = folder / pickles.front(),
          .expected = std::string(kSingleFile) + " or " + kIndexFile,
          .hint = "use a revision of the model that has safetensors files, or convert it with "
                  "transformers: AutoModelForCausalLM.from_pretrained(X).save_pretrained(Y)"});
  }
  if (!ggufs.empty()) {
    fail(ErrorKind::kMissingInput, {.what = "there are no safetensors weights",
                                    .where = folder,
                                    .got = ggufs.front(),
                                    .hint = "run: hone import FILE.gguf ID"});
  }
  fail(ErrorKind::kMissingInput, {.what = "there are no weights",
                                  .where = folder,
                                  .expected = std::string(kSingleFile) + " or " + kIndexFile});
}

void read_weight_map(const core::Json& root, Index& index, Problems& problems) {
  const auto map = root.is_object() ? root.find("weight_map") : root.end();
  if (map == root.end() || !map->is_object() || map->empty()) {
    problems.add("\"weight_map\" is missing, empty or not an object of tensor to file");
    return;
  }
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) {
      problems.add("tensor \"" + tensor + "\" is mapped to " + file.dump().substr(0, 40) +
                   ", not to a file name");
    } else if (!core::is_safe_relative_path(file.get<std::string>())) {
      problems.add("tensor \"" + tensor + "\" is mapped to the unsafe path " +
                   file.dump().substr(0, 300) + ", which could leave the folder");
    } else {
      index.weight_map.emplace_back(tensor, file.get<std::string>());
    }
  }
}

Index read_index(const fs::path& path) {
  const core::Json root = core::read_json_file(path);
  Index index;
  Problems problems;
  read_weight_map(root, index, problems);
  if (root.is_object() && root.contains("metadata") && root["metadata"].is_object() &&
      root["metadata"].contains("total_size")) {
    const core::Json& size = root["metadata"]["total_size"];
    const bool is_whole =
        size.is_number_unsigned() ||
        (size.is_number_float() && size.get<double>() >= 0 && size.get<double>() < 0x1p63 &&
         size.get<double>() == static_cast<double>(size.get<uint64_t>()));
    if (is_whole) {
      index.total_size = size.get<uint64_t>();
    } else {
      problems.add("\"metadata.total_size\" is " + size.dump().substr(0, 40) +
                   ", expected a number of bytes");
    }
  }
  problems.throw_if_any(path);
  for (const auto& [tensor, file] : index.weight_map) index.file_names.push_back(file);
  std::sort(index.file_names.begin(), index.file_names.end());
  index.file_names.erase(std::unique(index.file_names.begin(), index.file_names.end()),
                         index.file_names.end());
  return index;
}

void check_shards_exist(const fs::path& folder, const Index& index) {
  Problems problems;
  for (const std::string& file : index.file_names) {
    if (!fs::exists(folder / file)) problems.add("shard " + file + " is not there", true);
  }
  problems.throw_if_any(folder / kIndexFile, "fetch the missing files again");
}

std::string shard_file_name(const std::string& stem, size_t shard, size_t num_shards) {
  char suffix[64];
  std::snprintf(suffix, sizeof suffix, "-%05zu-of-%05zu.safetensors", shard + 1, num_shards);
  return stem + suffix;
}

}  // namespace

// Fills a WeightFiles and checks it against the index.
class WeightFilesBuilder {
 public:
  explicit WeightFilesBuilder(fs::path folder) : folder_(std::move(folder)) {}

  void add_file(const std::string& name) {
    const size_t file = result_.files_.size();
    result_.file_names_.push_back(name);
    result_.files_.push_back(SafetensorsFile::open(folder_ / name));
    const auto& entries = result_.files_.back().tensors();
    for (size_t i = 0; i < entries.size(); ++i) {
      const TensorEntry& t = entries[i];
      const auto [known, is_new] = result_.index_.emplace(t.name, result_.tensors_.size());
      if (!is_new) {
        problems_.add("tensor \"" + t.name + "\" is in two shards, " +
                      result_.file_names_[result_.tensors_[known->second].file] + " and " + name);
        continue;
      }
      result_.tensors_.push_back({.name = t.name,
                                  .dtype = t.dtype,
                                  .shape = t.shape,
                                  .file = file,
                                  .entry = i,
                                  .num_bytes = t.num_bytes()});
      result_.total_bytes_ += t.num_bytes();
    }
  }

  void check_index(const Index& index) {
    result_.has_index_ = true;
    std::map<std::string_view, std::string_view> mapped;
    for (const auto& [tensor, file] : index.weight_map) {
      mapped[tensor] = file;
      const WeightTensor* found = result_.find(tensor);
      if (found == nullptr) {
        problems_.add(mapped_but(tensor, file, ", which does not have it"));
      } else if (result_.file_names_[found->file] != file) {
        problems_.add(mapped_but(tensor, file, " but is in ", result_.file_names_[found->file]));
      }
    }
    for (const WeightTensor& t : result_.tensors_) {
      if (!mapped.contains(t.name)) {
        problems_.add("tensor \"" + t.name + "\" of " + result_.file_names_[t.file] +
                      " is not in the weight_map");
      }
    }
    if (problems_.messages.empty() && index.total_size &&
        *index.total_size != result_.total_bytes_) {
      problems_.add("\"metadata.total_size\" is " + std::to_string(*index.total_size) +
                    ", but the tensors have " + std::to_string(result_.total_bytes_) + " bytes");
    }
    problems_.throw_if_any(folder_ / kIndexFile);
  }

  WeightFiles take() { return std::move(result_); }

 private:
  fs::path folder_;
  WeightFiles result_;
  Problems problems_;
};

const WeightTensor* WeightFiles::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

std::span<const std::byte> WeightFiles::bytes(const WeightTensor& tensor) const {
  const SafetensorsFile& file = files_.at(tensor.file);
  return file.bytes(file.tensors().at(tensor.entry));
}

WeightFiles open_weight_files(const fs::path& folder) {
  WeightFilesBuilder builder(folder);
  if (fs::exists(folder / kSingleFile)) {
    builder.add_file(kSingleFile);
    return builder.take();
  }
  if (!fs::exists(folder / kIndexFile)) fail_no_weights(folder);
  const Index index = read_index(folder / kIndexFile);
  check_shards_exist(folder, index);
  for (const std::string& file : index.file_names) builder.add_file(file);
  builder.check_index(index);
  return builder.take();
}

ShardPlan plan_shards(const std::vector<TensorSpec>& tensors, uint64_t max_bytes,
                      const std::string& stem) {
  ShardPlan plan;
  uint64_t shard_bytes = 0;
  for (const TensorSpec& t : tensors) {
    const auto bytes = tensor_bytes(t.dtype, t.shape);
    if (!bytes) fail(ErrorKind::kInternal, {.what = "tensor can't be stored", .where = t.name});
    if (plan.shards.empty() || (shard_bytes > 0 && shard_bytes + *bytes > max_bytes)) {
      plan.shards.emplace_back();
      shard_bytes = 0;
    }
    plan.shards.back().tensors.push_back(t);
    shard_bytes += *bytes;
  }
  if (plan.shards.empty()) plan.shards.emplace_back();
  plan.has_index = plan.shards.size() > 1;
  for (size_t i = 0; i < plan.shards.size(); ++i) {
    plan.shards[i].file_name =
        plan.has_index ? shard_file_name(stem, i, plan.shards.size()) : stem + ".safetensors";
  }
  return plan;
}

ShardPlan plan_shards_like(const WeightFiles& like, const std::vector<TensorSpec>& tensors) {
  ShardPlan plan;
  plan.has_index = like.has_index();
  for (const std::string& name : like.file_names()) plan.shards.push_back({.file_name = name});
  for (const TensorSpec& t : tensors) {
    const WeightTensor* found = like.find(t.name);
    plan.shards[found == nullptr ? plan.shards.size() - 1 : found->file].tensors.push_back(t);
  }
  std::erase_if(plan.shards, [](const ShardPlan::Shard& s) { return s.tensors.empty(); });
  return plan;
}

std::string shard_index_json(const ShardPlan& plan) {
  std::map<std::string, std::string> weight_map;
  uint64_t total_size = 0;
  for (const ShardPlan::Shard& shard : plan.shards) {
    for (const TensorSpec& t : shard.tensors) {
      weight_map[t.name] = shard.file_name;
      total_size += tensor_bytes(t.dtype, t.shape).value_or(0);
    }
  }
  core::Json root;
  root["metadata"]["total_size"] = total_size;
  root["weight_map"] = weight_map;
  return core::dump_json(root);
}

}  // namespace hone::formats
