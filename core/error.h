// The one exception family. A thrown Error ends the run: main() prints it and returns its exit
// code.
#pragma once

#include <stdexcept>
#include <string>

namespace hone::core {

// The value is the process exit code (docs/exit_codes.md).
enum class ErrorKind : int {
  kUsage = 64,         // wrong command line
  kBadInput = 65,      // a data or model file is broken
  kMissingInput = 66,  // a file or repository is not there
  kUnavailable = 69,   // hub or network can't be reached
  kInternal = 70,      // a bug of ours
  kCannotCreate = 73,  // output exists or can't be created
  kIo = 74,            // disk full, read or write error
  kStoppedEarly = 75,  // stopped by a signal with a complete checkpoint
  kPeerLost = 76,      // another rank is gone
  kNoPermission = 77,  // authentication or permission
  kBadRecipe = 78,     // the recipe is wrong
  kNumerical = 79,     // a loss or gradient is not finite
};

// What a reader needs to mend it. Empty fields are left out of the message.
struct ErrorDetail {
  std::string what;      // "unknown key 'lerning_rate'"
  std::string where;     // "recipe.yaml:12", a tensor, a key, a rank
  std::string got;       // as found
  std::string expected;  // as wanted
  std::string hint;      // what to do
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, ErrorDetail detail);
  ErrorKind kind() const { return kind_; }
  const ErrorDetail& detail() const { return detail_; }
  int exit_code() const { return static_cast<int>(kind_); }

 private:
  ErrorKind kind_;
  ErrorDetail detail_;
};

// "where: what: got G, expected E (hint)" on one line.
std::string format_detail(const ErrorDetail& detail);

[[noreturn]] void fail(ErrorKind kind, ErrorDetail detail);

// Throws kIo, or kCannotCreate for EACCES/EROFS/EEXIST, or kMissingInput for ENOENT, naming `path`
// and strerror.
[[noreturn]] void fail_errno(const std::string& what, const std::string& path, int error_number);

}  // namespace hone::core
