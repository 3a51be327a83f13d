#include "data/glob.h"

#include <algorithm>
#include <cstdint>

#include "core/error.h"

namespace hone::data {
namespace fs = std::filesystem;
namespace {

std::vector<std::string_view> components(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    if (end > 0 && path.substr(0, end) != ".") parts.push_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return parts;
}

// The set that opens at pattern[at]; returns where it ends, or npos when it never closes and the
// bracket stands for itself.
size_t match_set(std::string_view pattern, size_t at, char c, bool& matches) {
  size_t i = at + 1;
  const bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  if (negated) ++i;
  const size_t close = pattern.find(']', i + 1);
  if (close == std::string_view::npos) return close;
  bool found = false;
  while (i < close) {
    if (i + 2 < close && pattern[i + 1] == '-') {
      found = found || (pattern[i] <= c && c <= pattern[i + 2]);
      i += 3;
    } else {
      found = found || pattern[i] == c;
      ++i;
    }
  }
  matches = found != negated;
  return close + 1;
}

// Matches pattern[p] against c; returns the position after it, or npos.
size_t match_one(std::string_view pattern, size_t p, char c) {
  if (pattern[p] == '?') return p + 1;
  if (pattern[p] == '[') {
    bool matches = false;
    const size_t end = match_set(pattern, p, c, matches);
    if (end != std::string_view::npos) return matches ? end : std::string_view::npos;
  }
  return pattern[p] == c ? p + 1 : std::string_view::npos;
}

// One component: the classic walk that goes back to the last star only.
bool component_matches(std::string_view pattern, std::string_view text) {
  constexpr size_t kNone = std::string_view::npos;
  size_t p = 0, t = 0, star = kNone, star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
      continue;
    }
    const size_t next = p < pattern.size() ? match_one(pattern, p, text[t]) : kNone;
    if (next != kNone) {
      p = next;
      ++t;
    } else if (star != kNone) {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace

bool is_glob(std::string_view text) { return text.find_first_of("*?[") != std::string_view::npos; }

bool glob_matches(std::string_view pattern, std::string_view path) {
  const auto wanted = components(pattern), parts = components(path);
  // reached[i]: the patterns so far can match the first i components.
  std::vector<uint8_t> reached(parts.size() + 1, 0);
  reached[0] = 1;
  for (size_t w = 0; w < wanted.size(); ++w) {
    std::vector<uint8_t> next(parts.size() + 1, 0);
    if (wanted[w] == "**") {
      const size_t at_least = w + 1 == wanted.size() ? 1 : 0;
      bool any = false;
      for (size_t i = 0; i <= parts.size(); ++i) {
        if (i >= at_least) any = any || reached[i - at_least] != 0;
        next[i] = any ? 1 : 0;
      }
    } else {
      for (size_t i = 0; i < parts.size(); ++i)
        next[i + 1] = reached[i] != 0 && component_matches(wanted[w], parts[i]) ? 1 : 0;
    }
    reached = std::move(next);
  }
  return reached.back() != 0;
}

std::vector<std::string> list_files(const fs::path& folder, bool with_hidden) {
  std::vector<std::string> files;
  try {
    for (auto it = fs::recursive_directory_iterator(folder);
         it != fs::recursive_directory_iterator(); ++it) {
      if (!with_hidden && it->path().filename().string().starts_with(".")) {
        if (it->is_directory()) it.disable_recursion_pending();
        continue;
      }
      if (it->is_regular_file())
        files.push_back(it->path().lexically_relative(folder).generic_string());
    }
  } catch (const fs::filesystem_error& error) {
    core::fail_errno("can't list", error.path1().string(), error.code().value());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string glob_root(const std::string& pattern) {
  const size_t wildcard = pattern.find_first_of("*?[");
  const size_t slash = pattern.rfind('/', wildcard);
  if (slash == std::string::npos) return "";
  return slash == 0 ? "/" : pattern.substr(0, slash);
}

std::vector<fs::path> expand_glob(const std::string& pattern) {
  const std::string root = glob_root(pattern);
  const fs::path folder = root.empty() ? fs::path(".") : fs::path(root);
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) return {};
  const std::string rest = pattern.substr(root.empty() ? 0 : root.size() + (root == "/" ? 0 : 1));
  std::vector<fs::path> found;
  const bool names_hidden = rest.starts_with(".") || rest.find("/.") != std::string::npos;
  for (const std::string& file : list_files(folder, names_hidden)) {
    if (glob_matches(rest, file)) found.push_back(root.empty() ? fs::path(file) : folder / file);
  }
  return found;
}

}  // namespace hone::data
