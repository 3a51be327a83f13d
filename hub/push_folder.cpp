#include "hub/push_folder.h"

#include <algorithm>
#include <system_error>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "formats/model_folder.h"
#include "hub/large_file.h"

namespace hone::hub {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

constexpr size_t kTokenChars = 20;  // after "hf_"; real ones have 34

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool matches_any(std::string_view name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return matches_pattern(name, pattern); });
}

FolderToPush select_files(const fs::path& folder, const std::vector<std::string>& also_allow) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    core::fail(ErrorKind::kMissingInput, {.what = "no folder to push", .where = folder.string()});
  }
  std::vector<std::string> names;
  FolderToPush selection;
  for (const std::string& name : folder_entries(folder)) {
    const bool allowed = matches_any(name, model_file_patterns()) ||
                         matches_any(name, document_file_patterns()) ||
                         matches_any(name, also_allow);
    const bool is_file = fs::is_regular_file(folder / name, error);  // follows symlinks
    (allowed && is_file ? names : selection.skipped).push_back(name);
  }
  for (std::string& name : names) {
    const uint64_t size = fs::file_size(folder / name);
    selection.files.push_back({std::move(name), size});
  }
  if (selection.files.empty()) {
    core::fail(ErrorKind::kMissingInput,
               {.what = "nothing to publish in the folder",
                .where = folder.string(),
                .expected = "model files, for example config.json and model.safetensors"});
  }
  return selection;
}

bool has(const FolderToPush& folder, const std::string& name) {
  return std::any_of(folder.files.begin(), folder.files.end(),
                     [&](const PushedFile& file) { return file.path == name; });
}

void check_is_model(const fs::path& folder, const FolderToPush& files) {
  if (has(files, "config.json") || has(files, "adapter_config.json")) return;
  core::fail(ErrorKind::kMissingInput,
             {.what = "the folder is no model: it has neither config.json nor adapter_config.json",
              .where = folder.string()});
}

void check_shards(const fs::path& folder, const FolderToPush& files) {
  for (const auto& [name, size] : files.files) {
    if (!name.ends_with(".safetensors.index.json")) continue;
    const core::Json index = core::read_json_file(folder / name);
    const auto map = index.find("weight_map");
    if (map == index.end() || !map->is_object()) continue;
    for (const auto& [tensor, shard] : map->items()) {
      if (shard.is_string() && has(files, shard.get<std::string>())) continue;
      core::fail(ErrorKind::kMissingInput,
                 {.what = "a shard named by the index is not in the folder",
                  .where = (folder / name).string() + ": " + tensor,
                  .got = shard.dump()});
    }
  }
}

void check_content(const fs::path& path, const std::string& name, uint64_t size) {
  if (size <= kMaxPointerBytes && parse_pointer(core::read_file(path))) {
    core::fail(ErrorKind::kBadInput, {.what = "the file is a git-lfs pointer, not the content",
                                      .where = path.string(),
                                      .hint = "run `git lfs pull` in its folder first"});
  }
  if (name.ends_with(".safetensors")) return;
  const core::MappedFile file(path);
  if (const size_t line = find_token_line(file.text()); line > 0) {
    core::fail(ErrorKind::kNoPermission,
               {.what = "the file holds an access token (hf_...) and is not published",
                .where = path.string() + ":" + std::to_string(line),
                .hint = "remove the token, and revoke it if others could read it"});
  }
}

}  // namespace

const std::vector<std::string>& model_file_patterns() {
  static const std::vector<std::string> patterns = {
      "config.json",
      "generation_config.json",
      "*.safetensors",
      "*.safetensors.index.json",
      "adapter_config.json",
      "tokenizer*.json",
      "chat_template.jinja",
      "special_tokens_map.json",
      "added_tokens.json",
      "vocab.json",
      "merges.txt",
      "tokenizer.model",
      std::string(formats::kTemplatesFolder) + "/*.jinja"};
  return patterns;
}

const std::vector<std::string>& document_file_patterns() {
  static const std::vector<std::string> patterns = {"README.md",     "LICENSE*",   "*.svg",
                                                    "recipe.yaml",   "run.json",   "metrics.jsonl",
                                                    "samples.jsonl", "report.html"};
  return patterns;
}

bool matches_pattern(std::string_view name, std::string_view pattern) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return name == pattern;
  const std::string_view start = pattern.substr(0, star), end = pattern.substr(star + 1);
  return name.size() >= start.size() + end.size() && name.starts_with(start) &&
         name.ends_with(end) && name.find('/', start.size()) == std::string_view::npos;
}

std::vector<std::string> folder_entries(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const fs::path name = entry.path().filename();
    if (name != formats::kTemplatesFolder || !entry.is_directory()) {
      names.push_back(name.string());
      continue;
    }
    for (const auto& inner : fs::directory_iterator(entry.path()))
      names.push_back((name / inner.path().filename()).string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

size_t find_token_line(std::string_view text) {
  for (size_t at = text.find("hf_"); at != std::string_view::npos; at = text.find("hf_", at + 3)) {
    size_t end = at + 3;
    while (end < text.size() && is_alphanumeric(text[end])) ++end;
    if (end - at - 3 < kTokenChars) continue;
    return 1 + static_cast<size_t>(std::count(text.begin(), text.begin() + at, '\n'));
  }
  return 0;
}

FolderToPush check_folder(const fs::path& folder, RepoKind kind,
                          const std::vector<std::string>& also_allow) {
  FolderToPush selection = select_files(folder, also_allow);
  if (kind == RepoKind::kModel) check_is_model(folder, selection);
  check_shards(folder, selection);
  for (const auto& [name, size] : selection.files) check_content(folder / name, name, size);
  return selection;
}

std::vector<std::string> stale_files(const std::vector<std::string>& paths, RepoKind kind,
                                     const FolderToPush& folder) {
  std::vector<std::string> stale;
  if (kind != RepoKind::kModel) return stale;
  for (const std::string& path : paths) {
    if (matches_any(path, model_file_patterns()) && !has(folder, path)) stale.push_back(path);
  }
  return stale;
}

std::string default_message(const fs::path& folder) {
  return "Upload " + fs::weakly_canonical(folder).filename().string();
}

}  // namespace hone::hub
