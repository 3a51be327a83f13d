#include "trainer/identity.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/log.h"

namespace hone::trainer {
namespace {

using core::Json;

constexpr std::array<std::string_view, 24> kHarmlessKeys{
    "learning_rate",    "lr_scheduler_type", "warmup_steps",
    "warmup_ratio",     "scheduler_steps",   "max_steps",
    "num_train_epochs", "max_grad_norm",     "weight_decay",
    "adam_beta1",       "adam_beta2",        "adam_epsilon",
    "logging_steps",    "eval_steps",        "save_steps",
    "save_total_limit", "output_dir",        "push_to_hub",
    "hub_model_id",     "hub_endpoint",      "gradient_checkpointing",
    "save_dtype",       "eval_datasets",     "eval_data"};

std::string text_of(const Json* value) { return value == nullptr ? "(absent)" : value->dump(); }

const Json* member(const Json* object, const std::string& key) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto found = object->find(key);
  return found == object->end() ? nullptr : &*found;
}

bool has_members(const Json* value) {
  return value != nullptr && value->is_object() && !value->empty();
}

void compare(const std::string& key, const Json* checkpoint, const Json* now,
             std::vector<IdentityDifference>& differences) {
  if (!has_members(checkpoint) && !has_members(now)) {
    if (text_of(checkpoint) == text_of(now)) return;
    differences.push_back({key, text_of(checkpoint), text_of(now), is_harmless_key(key)});
    return;
  }
  const std::string prefix = key.empty() ? "" : key + ".";
  std::vector<std::string> names;
  for (const Json* side : {now, checkpoint}) {
    if (!has_members(side)) continue;
    for (const auto& [name, value] : side->items()) {
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
  }
  for (const std::string& name : names)
    compare(prefix + name, member(checkpoint, name), member(now, name), differences);
}

std::string padded(const std::string& text, size_t width) {
  return text + std::string(width > text.size() ? width - text.size() : 0, ' ');
}

}  // namespace

bool is_harmless_key(std::string_view key) {
  const size_t dot = key.rfind('.');
  const std::string_view last = dot == std::string_view::npos ? key : key.substr(dot + 1);
  return std::ranges::find(kHarmlessKeys, last) != kHarmlessKeys.end();
}

std::vector<IdentityDifference> identity_differences(const Json& checkpoint, const Json& now) {
  std::vector<IdentityDifference> differences;
  compare("", &checkpoint, &now, differences);
  return differences;
}

std::string format_differences(const std::vector<IdentityDifference>& differences) {
  size_t key_width = 3, checkpoint_width = 10;
  for (const auto& d : differences) {
    key_width = std::max(key_width, d.key.size());
    checkpoint_width = std::max(checkpoint_width, d.checkpoint.size());
  }
  std::string text = "  " + padded("key", key_width) + "  " +
                     padded("checkpoint", checkpoint_width) + "  this run";
  for (const auto& d : differences) {
    text += "\n  " + padded(d.key, key_width) + "  " + padded(d.checkpoint, checkpoint_width) +
            "  " + d.now;
    if (d.harmless) text += "  (may change)";
  }
  return text;
}

void check_identity(const Json& checkpoint, const Json& now, const std::string& where) {
  const auto differences = identity_differences(checkpoint, now);
  if (differences.empty()) return;
  const std::string table = format_differences(differences);
  if (std::ranges::any_of(differences, [](const auto& d) { return !d.harmless; })) {
    core::fail(core::ErrorKind::kBadRecipe,
               {.what = "this checkpoint is of another run; they differ in\n" + table + "\n",
                .where = where,
                .hint = "resume with the recipe it was made with, or start a new output_dir"});
  }
  spdlog::info("resuming {} with changes:\n{}", where, table);
}

}  // namespace hone::trainer
