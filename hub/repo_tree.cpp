#include "hub/repo_tree.h"

#include <algorithm>
#include <unordered_set>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/text.h"
#include "hub/repo_id.h"

namespace hone::hub {
namespace {

using core::ErrorKind;
using core::Json;

constexpr size_t kSha256Chars = 64;
constexpr int kFormatVersion = 1;

bool is_hash(std::string_view text, size_t chars) {
  return text.size() == chars && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

void check_file(const RemoteFile& file, const std::string& where) {
  const std::string shown = core::excerpt(file.path);
  if (!core::is_safe_relative_path(file.path)) {
    core::fail(ErrorKind::kBadInput, {.what = "unsafe path in the repository: it could leave its "
                                              "folder",
                                      .where = where,
                                      .got = "'" + shown + "'"});
  }
  // The hashes become names of files too.
  if (!is_commit_id(file.blob_id) ||
      (!file.sha256.empty() && !is_hash(file.sha256, kSha256Chars))) {
    core::fail(ErrorKind::kBadInput, {.what = "the hub lists a file with a hash that is none",
                                      .where = where,
                                      .got = "'" + shown + "'"});
  }
}

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

const RemoteFile* RepoTree::find(std::string_view path) const {
  const auto found = std::lower_bound(
      files.begin(), files.end(), path,
      [](const RemoteFile& file, std::string_view wanted) { return file.path < wanted; });
  return found != files.end() && found->path == path ? &*found : nullptr;
}

std::vector<std::string> RepoTree::paths() const {
  std::vector<std::string> names;
  names.reserve(files.size());
  for (const RemoteFile& file : files) names.push_back(file.path);
  return names;
}

void check_tree(RepoTree& tree, const std::string& where) {
  std::sort(tree.files.begin(), tree.files.end(),
            [](const RemoteFile& a, const RemoteFile& b) { return a.path < b.path; });
  std::unordered_set<std::string_view> names;
  for (const RemoteFile& file : tree.files) {
    check_file(file, where);
    if (!names.insert(file.path).second) {
      core::fail(
          ErrorKind::kBadInput,
          {.what = "the hub lists '" + core::excerpt(file.path) + "' twice", .where = where});
    }
  }
  for (const RemoteFile& file : tree.files) {
    const std::string_view path = file.path;
    for (size_t at = path.find('/'); at != std::string_view::npos; at = path.find('/', at + 1)) {
      if (!names.contains(path.substr(0, at))) continue;
      core::fail(ErrorKind::kBadInput,
                 {.what = "unsafe path in the repository: a file is also a folder",
                  .where = where,
                  .got = "'" + core::excerpt(path) + "'"});
    }
  }
}

std::string tree_json(const RepoTree& tree) {
  Json files = Json::object();
  for (const RemoteFile& file : tree.files) {
    Json entry = {{"size", file.size}, {"blob_id", file.blob_id}};
    if (!file.sha256.empty()) {
      entry["lfs_sha256"] = file.sha256;
      entry["lfs_size"] = file.size;
    }
    // Others take an invalid one as a reason to list the repository again.
    if (is_hash(file.xet_hash, kSha256Chars)) entry["xet_hash"] = file.xet_hash;
    files[file.path] = std::move(entry);
  }
  return Json{{"format_version", kFormatVersion}, {"files", std::move(files)}}.dump(1);
}

std::optional<RepoTree> parse_tree_json(std::string_view text, const std::string& commit) {
  const Json root = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object() || root.value("format_version", Json()) != Json(kFormatVersion)) {
    return std::nullopt;
  }
  const auto files = root.find("files");
  if (files == root.end() || !files->is_object()) return std::nullopt;
  RepoTree tree{.commit = commit};
  for (const auto& [path, entry] : files->items()) {
    if (!entry.is_object() || !entry.contains("size") || !entry["size"].is_number_unsigned()) {
      return std::nullopt;
    }
    tree.files.push_back({path, entry["size"].get<uint64_t>(), text_of(entry, "blob_id"),
                          text_of(entry, "lfs_sha256"), text_of(entry, "xet_hash")});
  }
  try {
    check_tree(tree, commit);
  } catch (const core::Error&) {
    return std::nullopt;
  }
  return tree;
}

}  // namespace hone::hub
