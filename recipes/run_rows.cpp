#include "recipes/run_rows.h"

#include <fstream>

#include "core/error.h"

namespace hone::recipes {

using core::Json;

std::vector<Json> RowReader::new_rows() {
  std::vector<Json> rows;
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path_, error);
  if (error || size <= offset_) return rows;
  std::ifstream file(path_, std::ios::binary);
  std::string text(size - offset_, '\0');
  file.seekg(static_cast<std::streamoff>(offset_));
  if (!file.read(text.data(), static_cast<std::streamsize>(text.size())))
    core::fail(core::ErrorKind::kIo, {.what = "can't read", .where = path_.string()});
  size_t begin = 0;
  for (size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    Json row = Json::parse(text.begin() + static_cast<ptrdiff_t>(begin),
                           text.begin() + static_cast<ptrdiff_t>(end), nullptr, false);
    if (row.is_object() && row.contains("step") && row["step"].is_number_integer())
      rows.push_back(std::move(row));
  }
  offset_ += begin;
  return rows;
}

}  // namespace hone::recipes
