#include "models/merge.h"

#include <ATen/ATen.h>

#include <map>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "models/file_tensors.h"
#include "models/spec/adapter.h"
#include "models/spec/families.h"
#include "models/spec/modules.h"
#include "models/spec/parameter_plan.h"
#include "models/spec/saved_config.h"
#include "models/weight_check.h"

namespace hone::models {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

// How one tensor of the output comes about: a copy, plus what an adapter adds, or a full copy the
// adapter brings.
struct MergedTensor {
  FileTensor base;
  std::optional<FileTensor> a, b;  // LoRA
  bool transposed = false;         // embeddings: (B A)^T
  formats::Dtype dtype = formats::Dtype::kF32;
};

struct MergePlan {
  std::map<std::string, MergedTensor> tensors;
  double scale = 1.0;
  bool unties = false;
};

formats::Dtype saved_dtype(formats::Dtype kept, const std::string& save_dtype) {
  if (save_dtype.empty() || !is_float_dtype(kept)) return kept;
  const std::string name = config_dtype_name(save_dtype);
  if (name == "float32") return formats::Dtype::kF32;
  return name == "bfloat16" ? formats::Dtype::kBF16 : formats::Dtype::kF16;
}

void check_files(const ModelSpec& spec, const std::vector<PlannedParameter>& plan,
                 const FileTensors& base, const FileTensors& adapter,
                 const std::filesystem::path& base_folder,
                 const std::filesystem::path& adapter_folder) {
  const Family& family = *find_family(spec.architecture);
  std::vector<WantedTensor> wanted_base, wanted_adapter;
  for (const ParameterSpec& parameter : parameter_table(spec)) {
    wanted_base.push_back({family.file_name(parameter.name), parameter.shape});
  }
  for (const PlannedParameter& planned : plan) {
    if (planned.source != ParameterSource::kAdapterFile) continue;
    wanted_adapter.push_back({planned.source_name, planned.shape});
  }
  check_weights(base, wanted_base, is_ignored_base_tensor, base_folder.string());
  check_weights(adapter, wanted_adapter, is_ignored_adapter_tensor, adapter_folder.string());
}

// Gives a tied head a tensor of its own when the adapter no longer treats it as the embedding.
void untie_head(const ModelSpec& spec, const std::vector<PlannedParameter>& plan,
                MergePlan& merge) {
  if (!spec.tie_word_embeddings) return;
  for (const PlannedParameter& planned : plan) {
    const bool touches = planned.trainable && (planned.key.starts_with("model.embed_tokens.") ||
                                               planned.key.starts_with("lm_head."));
    merge.unties = merge.unties || touches;
  }
  merge.tensors.erase(kHead);
  if (merge.unties) merge.tensors[kHead] = merge.tensors.at(kEmbedding);
}

MergePlan plan_merge(const ModelSpec& spec, const AdapterOptions& options,
                     const std::vector<PlannedParameter>& plan, const FileTensors& base,
                     const FileTensors& adapter, const std::string& save_dtype) {
  const Family& family = *find_family(spec.architecture);
  MergePlan merge{.scale = lora_scale(options)};
  for (const auto& [name, tensor] : base) {
    merge.tensors[name] = {.base = tensor, .dtype = saved_dtype(tensor.dtype, save_dtype)};
  }
  untie_head(spec, plan, merge);
  for (const PlannedParameter& planned : plan) {
    if (planned.source != ParameterSource::kAdapterFile) continue;
    const FileTensor& tensor = adapter.at(planned.source_name);
    const bool is_a = planned.key.ends_with(".lora_A"), is_b = planned.key.ends_with(".lora_B");
    const std::string module = planned.key.substr(0, planned.key.rfind('.'));
    const std::string name = is_a || is_b ? module + ".weight" : planned.key;
    MergedTensor& merged = merge.tensors.at(family.file_name(name));
    if (is_a) merged.a = tensor;
    if (is_b) merged.b = tensor;
    if (!is_a && !is_b) merged.base = tensor;
    merged.transposed = module == "model.embed_tokens";
  }
  return merge;
}

at::Tensor compute(const MergedTensor& merged, double scale) {
  at::Tensor value = mapped_tensor(merged.base);
  if (merged.a && merged.b) {
    const at::Tensor a = mapped_tensor(*merged.a).to(at::kFloat);
    const at::Tensor b = mapped_tensor(*merged.b).to(at::kFloat);
    const at::Tensor delta = at::matmul(b, a) * scale;
    value = value.to(at::kFloat) + (merged.transposed ? delta.t() : delta);
  }
  return value.to(scalar_type(merged.dtype)).contiguous();
}

void write_tensor(formats::SafetensorsWriter& writer, const std::string& name,
                  const MergedTensor& merged, double scale) {
  if (!is_float_dtype(merged.dtype)) {  // nothing of ours: bytes as they are
    writer.write(name, merged.base.bytes);
    return;
  }
  const at::Tensor value = compute(merged, scale);
  writer.write(name, {static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes()});
}

void write_weights(const formats::WeightFiles& like, const MergePlan& merge,
                   const std::filesystem::path& output_folder) {
  std::vector<formats::TensorSpec> specs;
  for (const auto& [name, merged] : merge.tensors) {
    specs.push_back({.name = name, .dtype = merged.dtype, .shape = merged.base.shape});
  }
  const formats::ShardPlan shards = formats::plan_shards_like(like, specs);
  for (const formats::ShardPlan::Shard& shard : shards.shards) {
    formats::SafetensorsWriter writer(output_folder / shard.file_name,
                                      formats::plan_safetensors(shard.tensors));
    for (const formats::TensorSpec& spec : shard.tensors) {
      write_tensor(writer, spec.name, merge.tensors.at(spec.name), merge.scale);
    }
    writer.commit();
  }
  if (shards.has_index) {
    core::write_file_atomic(output_folder / "model.safetensors.index.json",
                            formats::shard_index_json(shards));
  }
}

bool is_tokenizer_file(const std::string& name) {
  return name.starts_with("tokenizer") || name == "special_tokens_map.json" ||
         name == "added_tokens.json" || name == "vocab.json" || name == "merges.txt" ||
         name.starts_with("chat_template");
}

void copy_companions(const std::filesystem::path& base_folder,
                     const std::filesystem::path& adapter_folder,
                     const std::filesystem::path& output_folder) {
  for (const bool from_adapter : {false, true}) {
    const auto& folder = from_adapter ? adapter_folder : base_folder;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      const bool kept =
          is_tokenizer_file(name) || (!from_adapter && name == "generation_config.json");
      if (entry.is_regular_file() && kept) {
        core::copy_file_durable(entry.path(), output_folder / name);
      }
    }
  }
}

void write_config(const std::filesystem::path& base_folder, const MergePlan& merge,
                  const std::string& save_dtype, const std::filesystem::path& output_folder) {
  core::Json config = config_to_save(core::read_json_file(base_folder / "config.json"), save_dtype);
  if (merge.unties) config["tie_word_embeddings"] = false;
  core::write_file_atomic(output_folder / "config.json", core::dump_json(config));
}

void make_empty_folder(const std::filesystem::path& folder) {
  core::make_folders(folder);
  if (std::filesystem::is_empty(folder)) return;
  core::fail(core::ErrorKind::kCannotCreate,
             {.what = "output folder is not empty", .where = folder.string()});
}

}  // namespace

void merge_adapter(const std::filesystem::path& base_folder,
                   const std::filesystem::path& adapter_folder,
                   const std::filesystem::path& output_folder, const std::string& save_dtype) {
  const at::NoGradGuard no_grad;
  const ModelSpec spec = read_model_spec(base_folder);
  const AdapterOptions options = read_adapter_config(adapter_folder);
  const std::vector<PlannedParameter> plan = plan_parameters(spec, options, false, true);
  const formats::WeightFiles base = formats::open_weight_files(base_folder);
  const formats::SafetensorsFile adapter = open_adapter_file(adapter_folder);
  const FileTensors base_tensors = list_tensors(base), adapter_tensors = list_tensors(adapter);
  check_files(spec, plan, base_tensors, adapter_tensors, base_folder, adapter_folder);
  const MergePlan merge =
      plan_merge(spec, options, plan, base_tensors, adapter_tensors, save_dtype);
  make_empty_folder(output_folder);
  write_weights(base, merge, output_folder);
  copy_companions(base_folder, adapter_folder, output_folder);
  write_config(base_folder, merge, save_dtype, output_folder);
}

}  // namespace hone::models
