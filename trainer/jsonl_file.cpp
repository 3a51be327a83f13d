#include "trainer/jsonl_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "core/error.h"
#include "core/files.h"

namespace hone::trainer {
namespace {

using core::Json;

// The row as JSON, or null for a line that is torn or not a row.
Json parse_row(const std::string& line) {
  const Json row = Json::parse(line, nullptr, false);
  const bool is_row = row.is_object() && row.contains("step") && row["step"].is_number_integer();
  return is_row ? row : Json();
}

std::string kept_lines(const std::string& text, const JsonlFile::Keep& keep) {
  std::string kept;
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    const std::string line = text.substr(begin, end - begin);
    const Json row = parse_row(line);
    if (!row.is_null() && keep(row)) kept += line + "\n";
  }
  return kept;
}

}  // namespace

JsonlFile::JsonlFile(const std::filesystem::path& path, const Keep& keep) : path_(path) {
  const bool goes_on = keep && std::filesystem::exists(path);
  core::write_file_atomic(path, goes_on ? kept_lines(core::read_file(path), keep) : "");
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (descriptor_ < 0) core::fail_errno("can't open", path, errno);
}

JsonlFile::~JsonlFile() { ::close(descriptor_); }

void JsonlFile::append(const std::string& lines) {
  size_t done = 0;
  while (done < lines.size()) {
    const ssize_t n = ::write(descriptor_, lines.data() + done, lines.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) core::fail_errno("can't write", path_, errno);
    done += static_cast<size_t>(n);
  }
}

void JsonlFile::sync() {
  if (::fsync(descriptor_) != 0) core::fail_errno("can't sync", path_, errno);
}

}  // namespace hone::trainer
