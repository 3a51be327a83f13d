#include "core/error.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/text.h"

namespace hone::core {
namespace {

// Names and excerpts come from files anybody may have written: a message must not move the cursor
// of the terminal it is printed on, nor fill it.
std::string printable(const std::string& text) {
  constexpr size_t kMaxBytes = 16 << 10, kMaxLineChars = 4096;
  std::string out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (begin > 0) out += '\n';
    out += excerpt(std::string_view(text).substr(begin, end - begin), kMaxLineChars);
    if (out.size() > kMaxBytes) return out + "\n…";
    begin = end + 1;
  }
  return out;
}

ErrorDetail printable(ErrorDetail d) {
  for (std::string* field : {&d.what, &d.where, &d.got, &d.expected, &d.hint})
    *field = printable(*field);
  return d;
}

}  // namespace

std::string format_detail(const ErrorDetail& d) {
  std::string text;
  if (!d.where.empty()) text += d.where + ": ";
  text += d.what;
  if (!d.got.empty()) text += ": got " + d.got;
  if (!d.expected.empty())
    text += std::string(d.got.empty() ? ": " : ", ") + "expected " + d.expected;
  if (!d.hint.empty()) text += " (" + d.hint + ")";
  return text;
}

Error::Error(ErrorKind kind, ErrorDetail detail)
    : std::runtime_error(format_detail(printable(detail))),
      kind_(kind),
      detail_(printable(std::move(detail))) {}

void fail(ErrorKind kind, ErrorDetail detail) { throw Error(kind, std::move(detail)); }

void fail_errno(const std::string& what, const std::string& path, int error_number) {
  ErrorKind kind = ErrorKind::kIo;
  std::string hint;
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      kind = ErrorKind::kMissingInput;
      break;
    case EACCES:
    case EPERM:
    case EROFS:
    case EEXIST:
      kind = ErrorKind::kCannotCreate;
      break;
    case ENOSPC:
    case EDQUOT:
      hint = "free some space and start again with --resume";
      break;
    default:
      break;
  }
  fail(kind, {.what = what + ": " + std::strerror(error_number), .where = path, .hint = hint});
}

}  // namespace hone::core
