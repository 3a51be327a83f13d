// The requests of a push as text, and its answers as values: the pure part of hub/push_http.h.
// Bodies are byte for byte those of huggingface_hub 2.4.0 (tests/golden/hub).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.h"
#include "hub/http.h"
#include "hub/repo_id.h"

namespace hone::hub {

constexpr size_t kFilesPerRequest = 256;
constexpr size_t kSampleBytes = 512;

// A file of the folder on its way to a repository.
struct LocalFile {
  std::string path;  // in the repository
  std::filesystem::path source;
  uint64_t size = 0;   // bytes
  std::string sample;  // its first kSampleBytes
  // What preupload answers.
  bool is_large = false;
  bool is_ignored = false;
  std::optional<std::string> remote_oid;  // of the repository's file of that path
  // By is_large: SHA-256, or the blob's SHA-1 and the content itself.
  std::string oid;
  std::string content;
  bool is_unchanged() const { return remote_oid == oid; }
};

std::string base64(std::string_view bytes);

std::string create_repo_body(RepoKind kind, const std::string& repo_id, bool is_private);
std::string tag_body(const std::string& tag, const std::string& message);

std::string preupload_body(const std::vector<LocalFile>& files);
// Fills in what the answer says of each file; an empty file is never large. Throws kUnavailable
// (`where` names the hub) when the answer is no such list or leaves a file out.
void read_preupload(const core::Json& answer, const std::string& where,
                    std::vector<LocalFile>& files);

struct LargeObject {
  std::string sha256;
  uint64_t size = 0;
};
// `branch`: "" for a pull request.
std::string batch_body(const std::vector<LargeObject>& objects, const std::string& branch);

struct UploadAction {
  std::string sha256;
  uint64_t size = 0;
  std::string href;             // basic: where the content goes; multipart: where its end is told
  std::vector<Header> headers;  // basic
  uint64_t chunk_size = 0;      // bytes; 0: basic
  std::vector<std::string> part_urls;
  std::string verify_href;  // "": none
  std::vector<Header> verify_headers;
};
// What is still to be uploaded of `objects`: an object without actions is there already. Addresses
// on huggingface.co become `endpoint`'s. Throws kUnavailable for an answer that is no such list,
// names other objects, or has another number of parts than size and chunk_size give; kBadInput with
// the hub's words for an object it refuses.
std::vector<UploadAction> read_batch(const core::Json& answer, const std::string& where,
                                     const std::string& endpoint,
                                     const std::vector<LargeObject>& objects);
std::string completion_body(const std::string& sha256, const std::vector<std::string>& etags);
std::string verify_body(const UploadAction& action);

// Newline-delimited JSON: the header, then files, then removals. Unchanged and ignored files are
// left out.
std::string commit_body(const std::string& message, const std::string& parent,
                        const std::vector<LocalFile>& files,
                        const std::vector<std::string>& removed);

}  // namespace hone::hub
