// Rows of a data file, one after the other, as JSON text, whatever the file's format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "core/error.h"
#include "data/dataset.h"

namespace hone::data {

constexpr size_t kMaxRowBytes = size_t{16} << 20;

struct FileRow {
  uint64_t line = 0;  // 1-based line of the file where the row begins; of Parquet the row's number
  std::string text;   // a JSON object, or what may be one: it is parsed strictly later
  // Why the reader itself can't use the row; "": it can. `text` is then how the row begins.
  core::ErrorDetail problem;
};

// Holds about a megabyte of the file, and the row.
class RowReader {
 public:
  RowReader() = default;
  RowReader(const RowReader&) = delete;
  RowReader& operator=(const RowReader&) = delete;
  virtual ~RowReader() = default;
  // False at the end. Throws kIo, and kBadInput (with path and place) where the rest of the file
  // can't be read: damaged compression or Parquet, a JSON array that ends early.
  virtual bool next(FileRow& row) = 0;
  virtual double fraction() const = 0;  // read so far, 0 to 1
};

// By the file's name (file_type.h); other names are read as JSONL.
//   JSON     the non-empty lines; in a .json file that begins with [, the elements of the array
//   CSV      RFC 4180 with a header line; every value is text, an empty one without quotes is null;
//            a cell of messages, conversations or chat_template_kwargs that is JSON is that JSON
//   text     {"text": ...}: the non-blank lines, paragraphs (between empty lines) or the whole
//   file,
//            as source.sample_by says
//   Parquet  the columns that source.format reads; all of them if none of those is there
std::unique_ptr<RowReader> open_rows(const std::filesystem::path& path,
                                     const DatasetSource& source);

}  // namespace hone::data
