#include "recipes/train/run_info.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include <filesystem>
#include <thread>

#include "core/hash.h"
#include "kernels/cpu.h"
#include "recipes/inputs.h"
#include "recipes/machine.h"
#include "recipes/program.h"
#include "recipes/reproduce.h"

namespace hone::recipes {
namespace {

using core::Json;

Json adapter_identity(const Recipe& recipe, const ResolvedInputs& inputs) {
  if (inputs.adapter) return {{"continued", inputs.adapter->fingerprint}};
  if (!recipe.adapter.enabled()) return nullptr;
  return {{"r", recipe.adapter.r},
          {"lora_alpha", recipe.adapter.lora_alpha},
          {"lora_dropout", recipe.adapter.lora_dropout},
          {"target_modules", recipe.adapter.target_modules},
          {"modules_to_save", recipe.adapter.modules_to_save},
          {"use_rslora", recipe.adapter.use_rslora}};
}

Json repo_json(const std::string& name, const hub::ResolvedRepo& repo) {
  return {{"name", name},
          {"from", std::string(hub::to_string(repo.origin))},
          {"commit", repo.commit},
          {"fingerprint", repo.fingerprint}};
}

Json totals_json(const data::DatasetTotals& t) {
  return {{"rows", t.num_rows},
          {"bad_rows", t.num_bad_rows},
          {"tokens", t.num_tokens},
          {"trained_tokens", t.num_trained_tokens},
          {"truncated_rows", t.num_truncated_rows},
          {"truncated_tokens", t.num_truncated_tokens},
          {"untrained_rows", t.num_untrained_rows},
          {"duplicate_rows", t.num_duplicate_rows}};
}

// One entry a dataset, under the names metrics use.
Json cache_json(const data::TokenCache& cache, const std::vector<std::string>& names) {
  Json json = totals_json(cache.totals());
  json["key"] = cache.key();
  for (size_t i = 0; names.size() > 1 && i < names.size(); ++i) {
    json["datasets"][names[i]] = totals_json(cache.source_totals()[i]);
  }
  return json;
}

}  // namespace

// A program replaced while it runs has no file of its name any more.
std::string build_hash() {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::canonical("/proc/self/exe", error);
  return (error ? core::sha256_file("/proc/self/exe") : file_hash(program)).substr(0, 16);
}

Json run_identity(const Recipe& recipe, const ResolvedInputs& inputs, const PreparedData& data,
                  const data::Tokenizer& tokenizer, const DtypeChoice& dtype) {
  Json identity{{"model", inputs.model.fingerprint},
                {"tokenizer", tokenizer.fingerprint()},
                {"data", data.train.key()},
                {"adapter", adapter_identity(recipe, inputs)},
                {"dtype", dtype.name},
                {"seed", recipe.train.seed},
                {"max_length", recipe.loader.max_length},
                {"packing", recipe.loader.packing},
                {"micro_batch_size", recipe.loader.micro_batch_size},
                {"gradient_accumulation_steps", recipe.loader.gradient_accumulation_steps},
                {"eval_data", data.eval ? Json(data.eval->key()) : Json(nullptr)}};
  for (const char* key :
       {"learning_rate", "lr_scheduler_type", "warmup_steps", "warmup_ratio", "scheduler_steps",
        "max_grad_norm", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon"}) {
    identity[key] = recipe.resolved.at(key);
  }
  if (!recipe.loader.weights.empty()) identity["dataset_weights"] = recipe.loader.weights;
  identity["max_steps"] = recipe.train.max_steps;
  return identity;
}

Json run_info(const Recipe& recipe, const ResolvedInputs& inputs, const PreparedData& data,
              const DtypeChoice& dtype) {
  Json info{{"recipe_file", recipe.path},
            {"recipe", recipe.resolved},
            {"model", repo_json(recipe.model_name_or_path, inputs.model)}};
  if (inputs.adapter) info["adapter"] = repo_json(recipe.adapter_path, *inputs.adapter);
  info["data"] = {{"train", cache_json(data.train, data.train_names)}};
  if (data.eval) info["data"]["eval"] = cache_json(*data.eval, data.eval_names);
  for (const NamedRepo& dataset : data.repos) {
    info["data"]["repositories"].push_back(repo_json(dataset.name, dataset.repo));
  }
  if (data.contamination) {
    info["data"]["contamination"] = {{"eval_rows", data.contamination->num_eval_rows},
                                     {"identical", data.contamination->num_identical},
                                     {"overlapping", data.contamination->num_overlapping},
                                     {"policy", recipe.resolved.at("eval_contamination")}};
  }
  info["dtype"] = {{"name", dtype.name}, {"reason", dtype.reason}};
  info["max_steps"] = recipe.train.max_steps;
  info["data"]["files"] = data_files_json(recipe);
  info["identity"] = recipe.train.identity;
  info["working_folder"] = std::filesystem::current_path().string();
  info["versions"] = {{"hone", version_text()},
                      {"build", build_hash()},
                      {"libtorch", TORCH_VERSION},
                      {"compiler", __VERSION__}};
  info["machine"] = {{"cpu", cpu_model()},
                     {"isa", kernels::cpu_kernels().name},
                     {"torch_isa", at::get_cpu_capability()},
                     {"threads", std::thread::hardware_concurrency()},
                     {"torch_threads", at::get_num_threads()}};
  return info;
}

}  // namespace hone::recipes
