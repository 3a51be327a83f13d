// Which files a dataset entry means, and where their rows are.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"
#include "data/dataset.h"

namespace hone::data {

// The JSONL and JSON files of one source, sorted. A folder's files belong to the split that their
// name or folder names, delimited by one of "-._ " or a digit (train, training; validation, valid,
// val, dev; test, testing, eval, evaluation); without such names all are "train". Throws
// kMissingInput if there are none.
std::vector<std::filesystem::path> resolve_files(const DatasetSource& source);

struct RowSlice {
  uint32_t line = 0;  // 1-based
  std::string_view text;
};

// A mapped data file and the slices of its rows: the non-empty lines of JSONL, or the elements of a
// JSON array.
class DataFile {
 public:
  // Throws kBadInput for an array that ends early, and a row over 16 MiB; stops after max_rows (0:
  // all).
  DataFile(const std::filesystem::path& path, int64_t max_rows);
  const std::vector<RowSlice>& rows() const { return rows_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  void split_lines(std::string_view text, int64_t max_rows);
  void split_array(std::string_view text, int64_t max_rows);
  void add_row(std::string_view text, uint32_t line);

  std::filesystem::path path_;
  core::MappedFile map_;
  std::vector<RowSlice> rows_;
};

// SHA-256 of a file's content, remembered in `memo_folder` by path, size and modification time.
std::string content_hash(const std::filesystem::path& path,
                         const std::filesystem::path& memo_folder);

}  // namespace hone::data
