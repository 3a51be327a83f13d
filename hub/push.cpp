#include "hub/push.h"

#include <algorithm>
#include <system_error>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"

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

// The folder's entries, split into what is published and what is not; both by name.
struct Selection {
  std::vector<std::string> files;
  std::vector<std::string> skipped;
};

Selection select_files(const fs::path& folder, const PushOptions& options) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    core::fail(ErrorKind::kMissingInput, {.what = "no folder to push", .where = folder.string()});
  }
  Selection selection;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool allowed = matches_any(name, model_file_patterns()) ||
                         matches_any(name, document_file_patterns()) ||
                         matches_any(name, options.also_allow);
    const bool is_file = fs::is_regular_file(entry.path(), error);  // follows symlinks
    (allowed && is_file ? selection.files : selection.skipped).push_back(name);
  }
  std::sort(selection.files.begin(), selection.files.end());
  std::sort(selection.skipped.begin(), selection.skipped.end());
  if (selection.files.empty()) {
    core::fail(ErrorKind::kMissingInput,
               {.what = "nothing to publish in the folder",
                .where = folder.string(),
                .expected = "model files, for example config.json and model.safetensors"});
  }
  return selection;
}

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void check_is_model(const fs::path& folder, const std::vector<std::string>& files) {
  if (has(files, "config.json") || has(files, "adapter_config.json")) return;
  core::fail(ErrorKind::kMissingInput,
             {.what = "the folder is no model: it has neither config.json nor adapter_config.json",
              .where = folder.string()});
}

void check_shards(const fs::path& folder, const std::vector<std::string>& files) {
  for (const std::string& name : files) {
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

void check_content(const fs::path& path, const std::string& name) {
  const uint64_t size = fs::file_size(path);
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

void check_tag_is_free(const LocalStore& store, const std::string& repo_id,
                       const PushOptions& options) {
  if (options.tag.empty()) return;
  check_branch_or_tag(options.tag);
  if (!store.has_repo(options.kind, repo_id)) return;
  const auto head = store.find_branch(options.kind, repo_id, options.branch);
  for (const RefInfo& tag : store.tags(options.kind, repo_id)) {
    if (tag.name != options.tag || tag.commit == head) continue;
    core::fail(ErrorKind::kCannotCreate,
               {.what = "tag '" + options.tag + "' of '" + repo_id + "' exists already",
                .where = store.root().string(),
                .hint = "choose another tag"});
  }
}

// Model files of the branch that the new set lacks.
std::vector<std::string> stale_files(const LocalStore& store, const std::string& repo_id,
                                     const PushOptions& options,
                                     const std::vector<std::string>& files) {
  std::vector<std::string> stale;
  const auto head = store.find_branch(options.kind, repo_id, options.branch);
  if (!head || options.kind != RepoKind::kModel) return stale;
  for (const FileEntry& entry : store.ls(options.kind, repo_id, *head)) {
    if (matches_any(entry.path, model_file_patterns()) && !has(files, entry.path))
      stale.push_back(entry.path);
  }
  return stale;
}

}  // namespace

const std::vector<std::string>& model_file_patterns() {
  static const std::vector<std::string> patterns = {
      "config.json",         "generation_config.json",
      "*.safetensors",       "*.safetensors.index.json",
      "adapter_config.json", "tokenizer*.json",
      "chat_template.jinja", "special_tokens_map.json",
      "added_tokens.json",   "vocab.json",
      "merges.txt",          "tokenizer.model"};
  return patterns;
}

const std::vector<std::string>& document_file_patterns() {
  static const std::vector<std::string> patterns = {"README.md",   "LICENSE*", "*.svg",
                                                    "recipe.yaml", "run.json", "metrics.jsonl"};
  return patterns;
}

bool matches_pattern(std::string_view name, std::string_view pattern) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return name == pattern;
  const std::string_view start = pattern.substr(0, star), end = pattern.substr(star + 1);
  return name.size() >= start.size() + end.size() && name.starts_with(start) &&
         name.ends_with(end) && name.find('/') == std::string_view::npos;
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

PushResult push_folder(LocalStore& store, const std::string& repo_id, const fs::path& folder,
                       const PushOptions& options) {
  check_repo_id(repo_id);
  check_branch_or_tag(options.branch);
  const Selection selection = select_files(folder, options);
  if (options.kind == RepoKind::kModel) check_is_model(folder, selection.files);
  check_shards(folder, selection.files);
  for (const std::string& name : selection.files) check_content(folder / name, name);
  check_tag_is_free(store, repo_id, options);

  store.create_repo(options.kind, repo_id, options.is_private);
  CommitRequest request{.kind = options.kind,
                        .repo_id = repo_id,
                        .branch = options.branch,
                        .message = options.message,
                        .author = options.author,
                        .expected_parent = options.expected_parent,
                        .progress = options.progress};
  if (request.message.empty()) {
    request.message = "Upload " + fs::weakly_canonical(folder).filename().string();
  }
  PushResult result{.skipped = selection.skipped};
  for (const std::string& name : selection.files) {
    request.operations.push_back(Operation::add_file(name, folder / name));
    result.files.push_back({name, fs::file_size(folder / name)});
  }
  result.removed = stale_files(store, repo_id, options, selection.files);
  for (const std::string& name : result.removed)
    request.operations.push_back(Operation::remove(name));
  const CommitResult commit = store.commit(request);
  result.commit = commit.commit;
  result.changed = commit.changed;
  if (!options.tag.empty()) {
    store.create_tag(options.kind, repo_id, options.tag, commit.commit, request.message,
                     options.author);
  }
  return result;
}

}  // namespace hone::hub
