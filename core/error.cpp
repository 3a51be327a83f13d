#include "core/error.h"

#include <cerrno>
#include <cstring>

namespace hone::core {

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
    : std::runtime_error(format_detail(detail)), kind_(kind), detail_(std::move(detail)) {}

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
