#include "hub/push_plan.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"

namespace hone::hub {
using core::ErrorKind;
using core::Json;
namespace {

constexpr std::string_view kPublicHub = "https://huggingface.co";
constexpr uint64_t kMaxParts = 100'000;

[[noreturn]] void fail_answer(const std::string& what, const std::string& where) {
  core::fail(ErrorKind::kUnavailable,
             {.what = "the hub's answer makes no sense: " + what, .where = where});
}

// As Python's json.dumps writes it: a space after ',' and ':', and ASCII only.
std::string python_json(const Json& value) {
  if (!value.is_structured()) return value.dump(-1, ' ', /*ensure_ascii=*/true);
  const bool is_object = value.is_object();
  std::string text(1, is_object ? '{' : '[');
  bool is_first = true;
  for (const auto& [key, item] : value.items()) {
    if (!is_first) text += ", ";
    is_first = false;
    if (is_object) text += Json(key).dump(-1, ' ', true) + ": ";
    text += python_json(item);
  }
  return text + (is_object ? '}' : ']');
}

std::string line(const std::string& key, const Json& value) {
  return python_json({{"key", key}, {"value", value}}) + "\n";
}

std::string text_of(const Json& object, const char* key, const std::string& where) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (found == object.end() || !found->is_string()) {
    fail_answer(std::string("'") + key + "' is no text", where);
  }
  return found->get<std::string>();
}

const Json& list_of(const Json& object, const char* key, const std::string& where) {
  if (!object.is_object() || !object.contains(key) || !object[key].is_array())
    fail_answer(std::string("'") + key + "' is no list", where);
  return object[key];
}

bool is_true(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

std::optional<uint64_t> number_of(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string own_address(std::string href, const std::string& endpoint) {
  if (href.starts_with(kPublicHub) && endpoint != kPublicHub)
    href.replace(0, kPublicHub.size(), endpoint);
  return href;
}

uint64_t chunk_size_of(const Json& value, const std::string& where) {
  std::optional<uint64_t> size;
  if (value.is_string()) size = number_of(value.get_ref<const std::string&>());
  if (value.is_number_unsigned()) size = value.get<uint64_t>();
  if (!size || *size == 0) fail_answer("chunk_size " + value.dump(), where);
  return *size;
}

// The header of an upload: parts by their number, chunk_size, and what is to be sent along.
void read_upload_header(const Json& header, const std::string& where, UploadAction& action) {
  std::map<uint64_t, std::string> parts;
  for (const auto& [key, value] : header.items()) {
    if (key == "chunk_size") {
      action.chunk_size = chunk_size_of(value, where);
      continue;
    }
    if (!value.is_string()) fail_answer("header '" + key + "' is no text", where);
    if (const auto number = number_of(key)) {
      parts[*number] = value;
    } else {
      action.headers.emplace_back(key, value);
    }
  }
  if (action.chunk_size == 0) return;
  action.headers.clear();
  const uint64_t wanted = (action.size + action.chunk_size - 1) / action.chunk_size;
  if (parts.size() != wanted || wanted > kMaxParts) {
    fail_answer(std::to_string(parts.size()) + " parts of " + std::to_string(action.chunk_size) +
                    " bytes for " + std::to_string(action.size) + " bytes",
                where);
  }
  for (auto& [number, url] : parts) action.part_urls.push_back(std::move(url));
}

UploadAction read_actions(const LargeObject& object, const Json& actions, const std::string& where,
                          const std::string& endpoint) {
  UploadAction action{.sha256 = object.sha256, .size = object.size};
  if (!actions.is_object() || !actions.contains("upload")) fail_answer("no upload", where);
  const Json& upload = actions["upload"];
  action.href = own_address(text_of(upload, "href", where), endpoint);
  if (const auto header = upload.find("header"); header != upload.end() && !header->is_null()) {
    if (!header->is_object()) fail_answer("'header' is no object", where);
    read_upload_header(*header, where, action);
  }
  for (std::string& url : action.part_urls) url = own_address(std::move(url), endpoint);
  const auto verify = actions.find("verify");
  if (verify == actions.end() || verify->is_null()) return action;
  action.verify_href = own_address(text_of(*verify, "href", where), endpoint);
  const auto header = verify->find("header");
  if (header == verify->end() || !header->is_object()) return action;
  for (const auto& [key, value] : header->items()) {
    if (value.is_string()) action.verify_headers.emplace_back(key, value);
  }
  return action;
}

}  // namespace

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k)
      group = group << 8 | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (size_t k = 0; k < 4; ++k) text += k <= count ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

std::string create_repo_body(RepoKind kind, const std::string& repo_id, bool is_private) {
  const size_t slash = repo_id.find('/');
  Json body;
  body["name"] = slash == std::string::npos ? repo_id : repo_id.substr(slash + 1);
  body["organization"] = slash == std::string::npos ? Json() : Json(repo_id.substr(0, slash));
  body["visibility"] = is_private ? "private" : "public";
  body["type"] = kind == RepoKind::kModel ? "model" : "dataset";
  return body.dump();
}

std::string tag_body(const std::string& tag, const std::string& message) {
  return Json{{"tag", tag}, {"message", message}}.dump();
}

std::string preupload_body(const std::vector<LocalFile>& files) {
  Json list = Json::array();
  for (const LocalFile& file : files) {
    list.push_back({{"path", file.path}, {"sample", base64(file.sample)}, {"size", file.size}});
  }
  return Json{{"files", std::move(list)}}.dump();
}

void read_preupload(const Json& answer, const std::string& where, std::vector<LocalFile>& files) {
  std::map<std::string, const Json*> by_path;
  for (const Json& item : list_of(answer, "files", where))
    by_path[text_of(item, "path", where)] = &item;
  for (LocalFile& file : files) {
    const auto found = by_path.find(file.path);
    if (found == by_path.end()) fail_answer("it leaves out '" + file.path + "'", where);
    const Json& item = *found->second;
    const std::string mode = text_of(item, "uploadMode", where);
    if (mode != "lfs" && mode != "regular") fail_answer("uploadMode '" + mode + "'", where);
    file.is_large = mode == "lfs" && file.size > 0;
    file.is_ignored = is_true(item, "shouldIgnore");
    const auto oid = item.find("oid");
    file.remote_oid.reset();
    if (oid != item.end() && oid->is_string()) file.remote_oid = oid->get<std::string>();
  }
}

std::string batch_body(const std::vector<LargeObject>& objects, const std::string& branch) {
  Json list = Json::array();
  for (const LargeObject& object : objects)
    list.push_back({{"oid", object.sha256}, {"size", object.size}});
  Json body = {{"operation", "upload"},
               {"transfers", {"basic", "multipart"}},
               {"objects", std::move(list)},
               {"hash_algo", "sha256"}};
  if (!branch.empty()) body["ref"] = {{"name", branch}};
  return body.dump();
}

std::vector<UploadAction> read_batch(const Json& answer, const std::string& where,
                                     const std::string& endpoint,
                                     const std::vector<LargeObject>& objects) {
  std::map<std::string, const Json*> by_oid;
  for (const Json& item : list_of(answer, "objects", where))
    by_oid[text_of(item, "oid", where)] = &item;
  std::vector<UploadAction> actions;
  for (const LargeObject& object : objects) {
    const auto found = by_oid.find(object.sha256);
    if (found == by_oid.end()) fail_answer("it leaves out " + object.sha256, where);
    const Json& item = *found->second;
    if (const auto error = item.find("error"); error != item.end() && !error->is_null()) {
      core::fail(ErrorKind::kBadInput,
                 {.what = "the hub refuses a large file: " + text_of(*error, "message", where),
                  .where = where + ": " + object.sha256});
    }
    const auto wanted = item.find("actions");
    if (wanted == item.end() || wanted->is_null()) continue;
    actions.push_back(read_actions(object, *wanted, where, endpoint));
  }
  return actions;
}

std::string completion_body(const std::string& sha256, const std::vector<std::string>& etags) {
  Json parts = Json::array();
  for (size_t i = 0; i < etags.size(); ++i)
    parts.push_back({{"partNumber", i + 1}, {"etag", etags[i]}});
  return Json{{"oid", sha256}, {"parts", std::move(parts)}}.dump();
}

std::string verify_body(const UploadAction& action) {
  return Json{{"oid", action.sha256}, {"size", action.size}}.dump();
}

std::string commit_body(const std::string& message, const std::string& parent,
                        const std::vector<LocalFile>& files,
                        const std::vector<std::string>& removed) {
  Json header = {{"summary", message}, {"description", ""}};
  if (!parent.empty()) header["parentCommit"] = parent;
  std::string body = line("header", header);
  for (const LocalFile& file : files) {
    if (file.is_ignored || file.is_unchanged()) continue;
    if (file.is_large) {
      body +=
          line("lfsFile",
               {{"path", file.path}, {"algo", "sha256"}, {"oid", file.oid}, {"size", file.size}});
    } else {
      body += line(
          "file", {{"content", base64(file.content)}, {"path", file.path}, {"encoding", "base64"}});
    }
  }
  for (const std::string& path : removed) body += line("deletedFile", {{"path", path}});
  return body;
}

}  // namespace hone::hub
