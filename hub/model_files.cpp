#include "hub/model_files.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/text.h"
#include "formats/model_folder.h"
#include "hub/push.h"

namespace hone::hub {
namespace {

using core::ErrorKind;

constexpr std::string_view kSingleFile = "model.safetensors";
constexpr std::string_view kIndexFile = "model.safetensors.index.json";
constexpr std::string_view kAdapterFile = "adapter_model.safetensors";
constexpr size_t kMaxNamed = 5;

// Everything beside the weights; "*" does not stand for '/'.
const std::vector<std::string>& side_file_patterns() {
  static const std::vector<std::string> patterns = [] {
    std::vector<std::string> all{"adapter_config.json", "tokenizer*.json", "README.md", "LICENSE*",
                                 ".gitattributes"};
    all.insert(all.end(), formats::kConfigFiles.begin(), formats::kConfigFiles.end());
    all.insert(all.end(), formats::kTokenizerSideFiles.begin(), formats::kTokenizerSideFiles.end());
    return all;
  }();
  return patterns;
}

bool is_top(std::string_view path) { return path.find('/') == std::string_view::npos; }

bool is_side_file(std::string_view path) {
  const std::string templates = std::string(formats::kTemplatesFolder) + "/";
  if (path.starts_with(templates) && path.ends_with(".jinja"))
    return is_top(path.substr(templates.size()));
  const auto& patterns = side_file_patterns();
  return is_top(path) && std::any_of(patterns.begin(), patterns.end(), [&](const auto& pattern) {
           return matches_pattern(path, pattern);
         });
}

bool is_pickle(std::string_view path) {
  for (const std::string_view ending : {".bin", ".pt", ".pth", ".ckpt", ".pkl"}) {
    if (path.ends_with(ending)) return true;
  }
  return false;
}

bool has(const std::vector<std::string>& paths, std::string_view name) {
  return std::find(paths.begin(), paths.end(), name) != paths.end();
}

// The files an index maps tensors to; each must be in the repository.
void add_shards(const std::string& text, const std::vector<std::string>& paths,
                std::set<std::string>& chosen) {
  const core::Json index = core::parse_json(text, std::string(kIndexFile));
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (map == index.end() || !map->is_object()) {
    core::fail(ErrorKind::kBadInput,
               {.what = "the index has no \"weight_map\"", .where = std::string(kIndexFile)});
  }
  for (const auto& [tensor, file] : map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (!core::is_safe_relative_path(name)) {
      core::fail(ErrorKind::kBadInput, {.what = "unsafe path in the index",
                                        .where = std::string(kIndexFile),
                                        .got = core::excerpt(file.dump())});
    }
    if (!has(paths, name)) {
      core::fail(ErrorKind::kMissingInput,
                 {.what = "the index names the shard " + core::excerpt(name) +
                          ", which the repository lacks",
                  .where = std::string(kIndexFile)});
    }
    chosen.insert(name);
  }
}

std::vector<std::string> pickles_of(const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  for (const std::string& path : paths) {
    if (is_top(path) && is_pickle(path) && names.size() < kMaxNamed) names.push_back(path);
  }
  return names;
}

void add_weights(const std::vector<std::string>& paths, const ReadFile& read, ModelPart part,
                 std::set<std::string>& chosen) {
  const size_t before = chosen.size();
  if (has(paths, kSingleFile)) {
    chosen.emplace(kSingleFile);
  } else if (has(paths, kIndexFile)) {
    chosen.emplace(kIndexFile);
    add_shards(read(std::string(kIndexFile)), paths, chosen);
  }
  if (has(paths, kAdapterFile)) chosen.emplace(kAdapterFile);
  if (chosen.size() > before) return;
  for (const std::string& path : paths) {
    if (is_top(path) && path.ends_with(".safetensors")) chosen.insert(path);
  }
  if (chosen.size() > before) return;
  if (const auto pickles = pickles_of(paths); !pickles.empty()) {
    core::fail(ErrorKind::kBadInput,
               {.what = "the weights are pickles, which can run code: they are not read",
                .got = core::join(pickles, ", "),
                .expected = "model.safetensors, or model.safetensors.index.json and its shards",
                .hint = "look for a revision with safetensors, or convert the model once"});
  }
  if (part == ModelPart::kModel) {
    core::fail(ErrorKind::kMissingInput,
               {.what = "the repository has no weights",
                .expected = "model.safetensors, model.safetensors.index.json and its shards, or "
                            "adapter_model.safetensors"});
  }
}

}  // namespace

SelectFiles select_model_files(ModelPart part) {
  return [part](const std::vector<std::string>& paths, const ReadFile& read) {
    std::set<std::string> chosen;
    for (const std::string& path : paths) {
      if (is_side_file(path)) chosen.insert(path);
    }
    if (part != ModelPart::kTokenizer) add_weights(paths, read, part, chosen);
    return std::vector<std::string>(chosen.begin(), chosen.end());
  };
}

std::vector<std::string> select_all_files(const std::vector<std::string>& paths, const ReadFile&) {
  return paths;
}

const std::vector<std::string>& optional_model_files() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all{"adapter_config.json", "generation_config.json"};
    all.insert(all.end(), formats::kTokenizerSideFiles.begin(), formats::kTokenizerSideFiles.end());
    return all;
  }();
  return names;
}

}  // namespace hone::hub
