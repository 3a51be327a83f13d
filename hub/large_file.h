// Large files, as git-lfs has them: git keeps a small pointer text, the content lies elsewhere
// under its SHA-256. Pointer format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hone::hub {

constexpr uint64_t kLargeFileBytes = 10'000'000;
constexpr uint64_t kMaxPointerBytes = 1024;  // a longer text is no pointer

struct LargePointer {
  std::string sha256;  // 64 lower-case hex characters
  uint64_t size = 0;   // bytes
};

std::string pointer_text(const LargePointer& pointer);
// The pointer `text` holds, or nothing when it is anything else.
std::optional<LargePointer> parse_pointer(std::string_view text);

// The .gitattributes a repository starts with: file types whose content is always large.
std::string default_attributes();
// Whether `path` is kept outside git: over kLargeFileBytes, or of a type or name that `attributes`
// gives to lfs. An empty file never is (git-lfs stores it as it is).
bool is_large(std::string_view path, uint64_t size, std::string_view attributes);
// `attributes` with a line for `path`, when no line covers it yet.
std::string with_attribute(std::string attributes, std::string_view path);

}  // namespace hone::hub
