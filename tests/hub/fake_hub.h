// A hub with one repository at one commit, on a ScriptedServer: description, listing in pages,
// content in ranges. A test replaces any reply with server().on().
#pragma once

#include <map>
#include <set>
#include <string>

#include "core/hash.h"
#include "core/json.h"
#include "hub/http.h"
#include "hub/repo_id.h"
#include "tests/hub/scripted_server.h"

namespace hone::hub {

inline const std::string kFakeCommit = "0123456789abcdef0123456789abcdef01234567";

class FakeHub {
 public:
  // Large files are those named *.safetensors.
  FakeHub(RepoKind kind, std::string id, std::map<std::string, std::string> files)
      : kind_(kind), id_(std::move(id)), files_(std::move(files)) {
    server_.on("GET", api() + "/revision/main",
               {Reply::json(core::Json{{"sha", kFakeCommit}}.dump())});
    list(listing());
    for (const auto& [path, content] : files_) serve(path, content);
  }

  ScriptedServer& server() { return server_; }
  std::string url() const { return server_.url(); }
  std::string api() const { return "/api/" + std::string(plural(kind_)) + "/" + id_; }
  std::string tree_target() const {
    return api() + "/tree/" + kFakeCommit + "?recursive=true&expand=false";
  }
  std::string file_target(const std::string& path) const {
    return (kind_ == RepoKind::kDataset ? "/datasets/" : "/") + id_ + "/resolve/" + kFakeCommit +
           "/" + path;
  }
  const std::string& content(const std::string& path) const { return files_.at(path); }
  std::string etag(const std::string& path) const {
    return is_large(path) ? core::sha256_hex(content(path)) : core::git_blob_sha1(content(path));
  }
  static bool is_large(const std::string& path) { return path.ends_with(".safetensors"); }

  core::Json entry(const std::string& path) const {
    const std::string& text = files_.at(path);
    core::Json file{{"type", "file"},
                    {"oid", core::git_blob_sha1(is_large(path) ? "pointer of " + path : text)},
                    {"size", text.size()},
                    {"path", path}};
    if (is_large(path)) {
      file["lfs"] = {{"oid", core::sha256_hex(text)}, {"size", text.size()}, {"pointerSize", 130}};
    }
    return file;
  }
  core::Json listing() const {
    core::Json list =
        core::Json::array({{{"type", "directory"}, {"oid", kFakeCommit}, {"path", "d"}}});
    for (const auto& [path, content] : files_) list.push_back(entry(path));
    return list;
  }
  void list(const core::Json& entries) {
    server_.on("GET", tree_target(), {Reply::json(entries.dump())});
  }
  void serve(const std::string& path, const std::string& content) {
    server_.on("GET", file_target(path), [content](const ServedRequest& request) {
      return Reply::content(request, content, {{"X-Repo-Commit", kFakeCommit}});
    });
  }
  // How often the content of a file was asked for.
  size_t num_gets(const std::string& path) const {
    return server_.requests("GET", file_target(path)).size();
  }

 private:
  RepoKind kind_;
  std::string id_;
  std::map<std::string, std::string> files_;
  ScriptedServer server_;
};

// A client whose pauses are not waited for.
inline HttpClient impatient_client(const std::string& endpoint, const std::string& token = "") {
  return HttpClient({.endpoint = endpoint,
                     .token = token,
                     .stall_timeout = std::chrono::seconds(1),
                     .sleep = [](std::chrono::milliseconds) {}});
}

inline std::string varied_text(size_t size) {
  std::string text(size, ' ');
  uint32_t state = 1;
  for (char& c : text) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

}  // namespace hone::hub
