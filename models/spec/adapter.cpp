#include "models/spec/adapter.h"

#include <algorithm>
#include <regex>
#include <set>

#include "core/error.h"
#include "core/text.h"
#include "models/spec/modules.h"

namespace hone::models {
namespace {

constexpr const char* kAllLinear = "all-linear";

bool is_all_linear(const AdapterOptions& options) {
  return options.target_modules.size() == 1 && options.target_modules.front() == kAllLinear;
}

// As PEFT: never adapt a module that is trained as a full copy (the entry's dotted parts appear in
// the path).
bool is_saved_module(const std::string& path, const std::vector<std::string>& entries) {
  const std::string dotted = "." + path + ".";
  return std::any_of(entries.begin(), entries.end(), [&](const std::string& entry) {
    return dotted.find("." + entry + ".") != std::string::npos;
  });
}

bool ends_with_module(const std::string& path, const std::string& entry) {
  return path == entry || path.ends_with("." + entry);
}

std::regex compile_pattern(const std::string& pattern) {
  try {
    return std::regex(pattern, std::regex::ECMAScript | std::regex::optimize);
  } catch (const std::regex_error& error) {
    core::fail(core::ErrorKind::kBadRecipe, {.what = "not a regular expression we can read",
                                             .where = "target_modules",
                                             .got = "'" + core::excerpt(pattern) + "'",
                                             .hint = error.what()});
  }
}

[[noreturn]] void fail_no_match(const AdapterOptions& options, const std::vector<Module>& modules) {
  std::vector<std::string> names;
  for (const Module& module : modules) {
    const std::string name = module.path.substr(module.path.rfind('.') + 1);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  const std::string got = core::join(options.target_modules, ", ");
  const std::string near = options.target_modules.empty()
                               ? ""
                               : core::did_you_mean(options.target_modules.front(), names);
  core::fail(core::ErrorKind::kBadRecipe,
             {.what = "no module of the model matches",
              .where = "target_modules",
              .got = core::excerpt(got),
              .expected = "some of " + core::join(names, ", ") + ", or all-linear",
              .hint = near.empty() ? "" : "did you mean '" + near + "'?"});
}

}  // namespace

std::vector<std::string> match_target_modules(const ModelSpec& spec,
                                              const AdapterOptions& options) {
  const std::vector<Module> modules = adaptable_modules(spec);
  std::regex pattern;
  if (options.target_modules_is_regex) pattern = compile_pattern(options.target_modules.at(0));
  std::vector<std::string> matched;
  for (const Module& module : modules) {
    if (is_saved_module(module.path, options.modules_to_save)) continue;
    bool matches = false;
    if (options.target_modules_is_regex) {
      matches = std::regex_match(module.path, pattern);
    } else if (is_all_linear(options)) {
      matches = module.kind == ModuleKind::kLinear;
    } else {
      matches = std::any_of(
          options.target_modules.begin(), options.target_modules.end(),
          [&](const std::string& entry) { return ends_with_module(module.path, entry); });
    }
    if (matches) matched.push_back(module.path);
  }
  if (matched.empty()) fail_no_match(options, modules);
  return matched;
}

core::Json adapter_config_json(const AdapterOptions& options, const ModelSpec& spec) {
  core::Json targets = core::Json::array();
  if (options.target_modules_is_regex) {
    targets = options.target_modules.at(0);
  } else if (is_all_linear(options)) {
    // Written out as names: other readers would look for a module called "all-linear" in a list.
    std::set<std::string> names;
    for (const std::string& path : match_target_modules(spec, options)) {
      names.insert(path.substr(path.rfind('.') + 1));
    }
    targets = names;
  } else {
    targets = options.target_modules;
  }
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? core::Json(nullptr) : core::Json(text);
  };
  const double whole_alpha = static_cast<double>(static_cast<int64_t>(options.lora_alpha));
  return core::Json{
      {"base_model_name_or_path", text_or_null(options.base_model_name_or_path)},
      {"bias", "none"},
      {"fan_in_fan_out", false},
      {"inference_mode", true},
      {"init_lora_weights", true},
      {"lora_alpha", whole_alpha == options.lora_alpha
                         ? core::Json(static_cast<int64_t>(options.lora_alpha))
                         : core::Json(options.lora_alpha)},
      {"lora_dropout", options.lora_dropout},
      {"modules_to_save",
       options.modules_to_save.empty() ? core::Json(nullptr) : core::Json(options.modules_to_save)},
      {"peft_type", "LORA"},
      {"r", options.r},
      {"revision", text_or_null(options.base_model_revision)},
      {"target_modules", targets},
      {"task_type", "CAUSAL_LM"},
      {"use_dora", false},
      {"use_rslora", options.use_rslora},
  };
}

}  // namespace hone::models
