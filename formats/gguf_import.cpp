#include "formats/gguf_import.h"

#include <algorithm>
#include <bit>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "formats/gguf.h"
#include "formats/gguf_config.h"
#include "formats/gguf_tokenizer.h"
#include "formats/gguf_weights.h"
#include "formats/weight_files.h"

namespace hone::formats {
namespace fs = std::filesystem;
namespace {

using core::ErrorKind;
using core::fail;

// A folder that is removed again unless it is put in its final place.
class StagedFolder {
 public:
  explicit StagedFolder(const fs::path& final_path)
      : final_path_(final_path.has_filename() ? final_path : final_path.parent_path()) {
    if (fs::exists(final_path_) && !(fs::is_directory(final_path_) && fs::is_empty(final_path_))) {
      fail(ErrorKind::kCannotCreate, {.what = "output folder exists and is not empty",
                                      .where = final_path_,
                                      .hint = "choose another one"});
    }
    path_ = final_path_.parent_path() / ("." + final_path_.filename().string() + ".import");
    core::remove_tree(path_);
    core::make_folders(path_);
  }
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;
  ~StagedFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }
  void commit() { core::rename_durable(path_, final_path_); }

 private:
  fs::path final_path_, path_;
};

struct NamedDtype {
  const char* name;
  Dtype dtype;
};
constexpr NamedDtype kDtypes[] = {
    {"bfloat16", Dtype::kBF16}, {"float16", Dtype::kF16}, {"float32", Dtype::kF32}};

std::vector<uint16_t> narrow(const std::vector<float>& values, Dtype dtype) {
  std::vector<uint16_t> narrowed(values.size());
  if (dtype == Dtype::kBF16) {
    f32_to_bf16(values, narrowed);
  } else {
    f32_to_f16(values, narrowed);
  }
  return narrowed;
}

bool fits(const GgufFile& file, const GgufWeight& weight, Dtype dtype) {
  bool exact = true;
  read_gguf_weight(file, weight, [&](uint64_t, const std::vector<float>& values) {
    if (!exact) return;
    const std::vector<uint16_t> narrowed = narrow(values, dtype);
    for (size_t i = 0; i < values.size() && exact; ++i) {
      const float back = dtype == Dtype::kBF16 ? bf16_to_f32(narrowed[i]) : f16_to_f32(narrowed[i]);
      exact = std::bit_cast<uint32_t>(back) == std::bit_cast<uint32_t>(values[i]);
    }
  });
  return exact;
}

// The narrowest type that holds all values exactly. Quantised values are products that need
// float32; matrices in float32 are taken to be meant so.
NamedDtype choose_dtype(const GgufFile& file, const std::vector<GgufWeight>& weights) {
  for (const NamedDtype& candidate : kDtypes) {
    if (candidate.dtype == Dtype::kF32) return candidate;
    const GgmlType own = candidate.dtype == Dtype::kBF16 ? GgmlType::kBF16 : GgmlType::kF16;
    const bool possible = std::all_of(weights.begin(), weights.end(), [&](const GgufWeight& w) {
      return w.source->type == own ||
             (w.source->type == GgmlType::kF32 && w.source->shape.size() == 1);
    });
    if (!possible) continue;
    const bool exact = std::all_of(weights.begin(), weights.end(), [&](const GgufWeight& w) {
      return w.source->type == own || fits(file, w, candidate.dtype);
    });
    if (exact) return candidate;
  }
  fail(ErrorKind::kInternal, {.what = "no dtype fits"});
}

NamedDtype find_dtype_option(const std::string& name) {
  for (const NamedDtype& known : kDtypes) {
    if (name == known.name) return known;
  }
  fail(ErrorKind::kBadRecipe, {.what = "unknown dtype",
                               .where = "dtype",
                               .got = "\"" + name + "\"",
                               .expected = "float32, bfloat16 or float16"});
}

void write_weights(const GgufFile& file, const std::vector<GgufWeight>& weights, Dtype dtype,
                   const fs::path& folder) {
  std::vector<TensorSpec> specs;
  std::unordered_map<std::string, const GgufWeight*> by_name;
  for (const GgufWeight& w : weights) {
    specs.push_back({w.name, dtype, w.source->shape});
    by_name[w.name] = &w;
  }
  const ShardPlan plan = plan_shards(specs);
  for (const ShardPlan::Shard& shard : plan.shards) {
    SafetensorsWriter writer(folder / shard.file_name, plan_safetensors(shard.tensors));
    for (const TensorEntry& t : writer.plan().tensors) {
      const auto write = [&](uint64_t first, const std::vector<float>& values) {
        if (dtype == Dtype::kF32) {
          writer.write_part(t.name, 4 * first, std::as_bytes(std::span(values)));
        } else {
          const std::vector<uint16_t> narrowed = narrow(values, dtype);
          writer.write_part(t.name, 2 * first, std::as_bytes(std::span(narrowed)));
        }
      };
      read_gguf_weight(file, *by_name.at(t.name), write);
    }
    writer.commit();
  }
  if (plan.has_index) {
    core::write_file_atomic(folder / "model.safetensors.index.json", shard_index_json(plan));
  }
}

GgufImportResult describe(const GgufFile& file, const GgufModel& model,
                          const std::vector<GgufWeight>& weights, const std::string& dtype) {
  GgufImportResult result{.model_type = model.model_type,
                          .architecture = model.architecture,
                          .name = file.get_string("general.name").value_or(""),
                          .organization = file.get_string("general.organization").value_or(""),
                          .license = file.get_string("general.license").value_or(""),
                          .languages = file.get_strings("general.languages"),
                          .dtype = dtype};
  std::set<std::string> types;
  for (const GgufWeight& w : weights) {
    types.insert(ggml_type_info(w.source->type).name);
    result.num_parameters += *shape_numel(w.source->shape);
  }
  result.tensor_types.assign(types.begin(), types.end());
  return result;
}

}  // namespace

GgufImportResult import_gguf(const fs::path& gguf_path, const fs::path& output_folder,
                             const GgufImportOptions& options) {
  const NamedDtype asked = find_dtype_option(options.dtype.empty() ? "float32" : options.dtype);
  const GgufFile file = GgufFile::open(gguf_path);
  const GgufModel model = read_gguf_model(file);
  const std::vector<GgufWeight> weights = match_gguf_weights(file, model);
  const auto tokenizer_files = gguf_tokenizer_files(file, model.vocab_size);
  const NamedDtype dtype = options.dtype.empty() ? choose_dtype(file, weights) : asked;
  const core::Json config = gguf_config_json(file, model, dtype.name);
  StagedFolder folder(output_folder);
  for (const auto& [name, text] : tokenizer_files) {
    core::make_folders((folder.path() / name).parent_path());
    core::write_file_atomic(folder.path() / name, text);
  }
  core::write_file_atomic(folder.path() / "config.json", core::dump_json(config));
  core::write_file_atomic(folder.path() / "generation_config.json",
                          core::dump_json(gguf_generation_config_json(file)));
  write_weights(file, weights, dtype.dtype, folder.path());
  folder.commit();
  return describe(file, model, weights, dtype.name);
}

}  // namespace hone::formats
