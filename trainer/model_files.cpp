#include "trainer/model_files.h"

#include <map>

#include "core/files.h"
#include "core/json.h"
#include "formats/model_folder.h"
#include "formats/weight_files.h"
#include "models/spec/saved_config.h"

namespace hone::trainer {
namespace fs = std::filesystem;
namespace {

void write_config(const fs::path& from, const fs::path& to, const std::string& save_dtype) {
  const core::Json config = models::config_to_save(core::read_json_file(from), save_dtype);
  core::write_file_atomic(to, core::dump_json(config));
}

void copy_if_there(const fs::path& from_folder, const fs::path& to_folder, const fs::path& name) {
  if (fs::exists(from_folder / name)) core::copy_file_durable(from_folder / name, to_folder / name);
}

void copy_tokenizer(const fs::path& from, const fs::path& to) {
  copy_if_there(from, to, formats::kTokenizerFile);
  for (const char* name : formats::kTokenizerSideFiles) copy_if_there(from, to, name);
  const fs::path templates = from / formats::kTemplatesFolder;
  if (!fs::is_directory(templates)) return;
  core::make_folders(to / formats::kTemplatesFolder);
  for (const auto& entry : fs::directory_iterator(templates)) {
    if (entry.path().extension() == ".jinja")
      copy_if_there(from, to, fs::path(formats::kTemplatesFolder) / entry.path().filename());
  }
}

ModelFiles plan_weights(std::vector<models::NamedTensor> tensors, const std::string& stem) {
  std::vector<formats::TensorSpec> specs;
  std::map<std::string, models::NamedTensor> by_name;
  for (models::NamedTensor& tensor : tensors) {
    specs.push_back(spec_of(tensor));
    by_name[tensor.name] = std::move(tensor);
  }
  const formats::ShardPlan plan = formats::plan_shards(specs, formats::kDefaultShardBytes, stem);
  ModelFiles files;
  for (const auto& shard : plan.shards) {
    std::vector<models::NamedTensor> in_shard;
    for (const formats::TensorSpec& spec : shard.tensors)
      in_shard.push_back(std::move(by_name.at(spec.name)));
    files.weights.push_back(plan_tensor_file(shard.file_name, std::move(in_shard)));
  }
  if (plan.has_index) {
    files.index_name = stem + ".safetensors.index.json";
    files.index = formats::shard_index_json(plan);
  }
  return files;
}

}  // namespace

ModelFiles plan_model_files(const models::Model& model, const std::string& save_dtype) {
  return plan_weights(models::tensors_to_save(model, save_dtype),
                      model.adapter.enabled() ? "adapter_model" : "model");
}

void write_side_files(const fs::path& folder, const ModelFiles& files, const models::Model& model,
                      const fs::path& model_folder, const std::string& save_dtype) {
  if (!files.index_name.empty()) core::write_file_atomic(folder / files.index_name, files.index);
  if (model.adapter.enabled()) {
    core::write_file_atomic(
        folder / "adapter_config.json",
        core::dump_json(models::adapter_config_json(model.adapter, model.spec)));
  } else {
    for (const char* name : formats::kConfigFiles) {
      if (!fs::exists(model_folder / name)) continue;
      write_config(model_folder / name, folder / name,
                   name == std::string("config.json") ? save_dtype : "");
    }
  }
  copy_tokenizer(model_folder, folder);
}

std::set<std::string> exactly_saved(const models::Model& model, const std::string& save_dtype) {
  std::map<std::string, std::vector<int64_t>> trainable;
  for (const models::Stage& stage : model.stages) {
    for (const models::Parameter& parameter : stage.parameters) {
      if (parameter.grad.defined()) trainable[parameter.name] = parameter.shape;
    }
  }
  std::set<std::string> names;
  for (const models::NamedTensor& tensor : models::tensors_to_save(model, save_dtype)) {
    const auto found = trainable.find(tensor.name);
    if (found != trainable.end() && found->second == tensor.shape && tensor.dtype == "F32")
      names.insert(tensor.name);
  }
  return names;
}

}  // namespace hone::trainer
