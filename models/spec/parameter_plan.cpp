#include "models/spec/parameter_plan.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "models/spec/modules.h"
#include "models/spec/shard_plan.h"

namespace hone::models {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

PlannedParameter plan_base(const ParameterSpec& parameter, const AdapterOptions& adapter,
                           bool train_base, bool continued) {
  PlannedParameter planned{.key = parameter.name,
                           .name = parameter.name,
                           .shape = parameter.shape,
                           .stage = parameter.stage,
                           .trainable = train_base && !adapter.enabled(),
                           .source_name = parameter.name};
  if (adapter.enabled() && is_module_to_save(parameter.name, adapter.modules_to_save)) {
    planned.trainable = true;
    planned.name = peft_name(parameter.name);
    if (continued) {
      planned.source = ParameterSource::kAdapterFile;
      planned.source_name = planned.name;
    }
  }
  return planned;
}

// A tied head has no tensor of its own until an adapter trains a full copy of either side: PEFT
// then leaves the other side at the base model's values.
void plan_split_head(const ModelSpec& spec, const AdapterOptions& adapter, bool continued,
                     std::vector<PlannedParameter>& plan) {
  if (!spec.tie_word_embeddings || !adapter.enabled()) return;
  const bool saves_head = is_module_to_save(kHead, adapter.modules_to_save);
  const bool saves_embedding = is_module_to_save(kEmbedding, adapter.modules_to_save);
  if (!saves_head && !saves_embedding) return;
  PlannedParameter head{.key = kHead,
                        .name = saves_head ? peft_name(kHead) : kHead,
                        .shape = {spec.vocab_size, spec.hidden_size},
                        .stage = spec.num_layers() + 1,
                        .trainable = saves_head,
                        .source_name = kEmbedding};
  if (saves_head && continued) {
    head.source = ParameterSource::kAdapterFile;
    head.source_name = head.name;
  }
  plan.push_back(head);
}

void plan_lora(const Module& module, int64_t r, bool continued, uint32_t stream,
               std::vector<PlannedParameter>& plan) {
  const bool embedding = module.kind == ModuleKind::kEmbedding;
  const std::string suffix_a = embedding ? ".lora_embedding_A" : ".lora_A.weight";
  const std::string suffix_b = embedding ? ".lora_embedding_B" : ".lora_B.weight";
  PlannedParameter a{.key = module.path + ".lora_A",
                     .name = peft_name(module.path + suffix_a),
                     .shape = {r, module.in_features},
                     .stage = module.stage,
                     .trainable = true,
                     .source = embedding ? ParameterSource::kZero : ParameterSource::kLoraA,
                     .init_stream = stream};
  PlannedParameter b{.key = module.path + ".lora_B",
                     .name = peft_name(module.path + suffix_b),
                     .shape = {module.out_features, r},
                     .stage = module.stage,
                     .trainable = true,
                     .source = embedding ? ParameterSource::kNormal : ParameterSource::kZero,
                     .init_stream = stream};
  for (PlannedParameter* planned : {&a, &b}) {
    if (continued) planned->source = ParameterSource::kAdapterFile;
    planned->source_name = planned->name;
    plan.push_back(*planned);
  }
}

void check_modules_to_save(const ModelSpec& spec, const AdapterOptions& adapter) {
  std::vector<ParameterSpec> table = parameter_table(spec);
  table.push_back({.name = kHead});
  for (const std::string& entry : adapter.modules_to_save) {
    const bool found = std::any_of(table.begin(), table.end(), [&](const ParameterSpec& p) {
      return is_module_to_save(p.name, {entry});
    });
    if (found) continue;
    core::fail(core::ErrorKind::kBadRecipe,
               {.what = "no module of the model matches",
                .where = "modules_to_save",
                .got = "'" + entry + "'",
                .expected = "a module such as lm_head or embed_tokens"});
  }
}

}  // namespace

std::vector<int64_t> PlannedParameter::held_shape() const {
  return is_held ? parallel::slice_shape(shape, slice) : std::vector<int64_t>{0};
}

int64_t PlannedParameter::num_held() const {
  return is_held ? parallel::slice_numel(shape, slice) : 0;
}

std::vector<PlannedParameter> plan_parameters(const ModelSpec& spec, const AdapterOptions& adapter,
                                              bool train_base, bool continued) {
  std::vector<PlannedParameter> plan;
  for (const ParameterSpec& parameter : parameter_table(spec)) {
    plan.push_back(plan_base(parameter, adapter, train_base, continued));
  }
  if (adapter.enabled()) {
    check_modules_to_save(spec, adapter);
    plan_split_head(spec, adapter, continued, plan);
    const std::vector<std::string> targets = match_target_modules(spec, adapter);
    uint32_t stream = 0;
    for (const Module& module : adaptable_modules(spec)) {
      if (std::find(targets.begin(), targets.end(), module.path) == targets.end()) continue;
      plan_lora(module, adapter.r, continued, stream++, plan);
    }
  }
  std::stable_sort(plan.begin(), plan.end(),
                   [](const auto& x, const auto& y) { return x.stage < y.stage; });
  return plan;
}

bool has_tied_head(std::span<const PlannedParameter> plan) {
  return std::ranges::none_of(plan, [](const auto& planned) { return planned.key == kHead; });
}

void slice_plan(std::vector<PlannedParameter>& plan, const ModelSpec& spec,
                const Sharding& sharding) {
  const bool has_head = sharding.computes(spec.num_layers() + 1);
  const bool needs_embedding = has_tied_head(plan) && has_head;
  for (PlannedParameter& planned : plan) {
    planned.slice = slice_of(spec, planned.key, planned.shape, sharding.slicer);
    planned.is_held = sharding.computes(planned.stage) || (planned.stage == 0 && needs_embedding);
  }
}

double lora_scale(const AdapterOptions& adapter) {
  const double r = static_cast<double>(adapter.r);
  return adapter.lora_alpha / (adapter.use_rslora ? std::sqrt(r) : r);
}

}  // namespace hone::models
