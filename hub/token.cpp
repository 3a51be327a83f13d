#include "hub/token.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "core/error.h"
#include "core/files.h"

namespace hone::hub {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;

constexpr uint64_t kMaxTokenBytes = 4096;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string trimmed(const std::string& text) {
  const auto is_space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  const auto first = std::find_if_not(text.begin(), text.end(), is_space);
  const auto last = std::find_if_not(text.rbegin(), text.rend(), is_space).base();
  return first < last ? std::string(first, last) : "";
}

fs::path token_path() {
  if (const std::string path = environment("HF_TOKEN_PATH"); !path.empty()) return path;
  if (const std::string home = environment("HF_HOME"); !home.empty()) {
    return fs::path(home) / "token";
  }
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) {
    return fs::path(cache) / "huggingface" / "token";
  }
  const std::string home = environment("HOME");
  return home.empty() ? fs::path() : fs::path(home) / ".cache" / "huggingface" / "token";
}

void check_permissions(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0)
    core::fail_errno("can't look at the token", path.string(), errno);
  if (status.st_uid != ::geteuid() && status.st_uid != 0) {
    core::fail(ErrorKind::kNoPermission,
               {.what = "the token file belongs to another user",
                .where = path.string(),
                .hint = "use a file of your own with HF_TOKEN_PATH, or HF_TOKEN"});
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    core::fail(
        ErrorKind::kNoPermission,
        {.what = "others may change the token file", .where = path.string(), .hint = "chmod 600"});
  }
  if ((status.st_mode & (S_IRGRP | S_IROTH)) != 0) {
    spdlog::warn("others may read the access token in {}: chmod 600", path.string());
  }
}

std::string checked(std::string token, const std::string& where) {
  const bool is_clean = std::all_of(token.begin(), token.end(), [](char c) {
    return std::isgraph(static_cast<unsigned char>(c)) != 0;
  });
  if (!is_clean) {
    core::fail(ErrorKind::kNoPermission,
               {.what = "the access token holds spaces or control characters",
                .where = where,
                .expected = "one line, hf_..."});
  }
  return token;
}

bool is_on(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text == "1" || text == "ON" || text == "YES" || text == "TRUE";
}

}  // namespace

std::string find_token() {
  if (const std::string token = trimmed(environment("HF_TOKEN")); !token.empty()) {
    return checked(token, "HF_TOKEN");
  }
  const fs::path path = token_path();
  std::error_code error;
  if (path.empty() || !fs::is_regular_file(path, error)) return "";
  check_permissions(path);
  return checked(trimmed(core::read_file(path, kMaxTokenBytes)), path.string());
}

bool is_offline() {
  return is_on(environment("HF_HUB_OFFLINE")) || is_on(environment("TRANSFORMERS_OFFLINE"));
}

}  // namespace hone::hub
