// The rows of all sources of a dataset, file after file, in chunks.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "data/dataset.h"
#include "data/row_reader.h"

namespace hone::data {

struct RowChunk {
  size_t source = 0;
  std::filesystem::path path;
  std::vector<FileRow> rows;
  size_t num_bytes = 0;  // of their texts
  double fraction = 0;   // of all files, by their sizes, when the chunk was read
};

class RowStream {
 public:
  // `files[s]` are those of sources[s]; both outlive the stream.
  RowStream(const std::vector<DatasetSource>& sources,
            const std::vector<std::vector<std::filesystem::path>>& files);
  // Up to 32 rows of one file and about a quarter of a megabyte; nothing at the end. Throws as
  // RowReader::next does.
  std::optional<RowChunk> next();

 private:
  bool open_next();
  bool read_row(RowChunk& chunk);
  double fraction() const;

  const std::vector<DatasetSource>& sources_;
  const std::vector<std::vector<std::filesystem::path>>& files_;
  size_t source_ = 0, file_ = 0;  // the next one to open is file_ of source_
  size_t opened_source_ = 0;      // what reader_ reads
  std::filesystem::path opened_path_;
  std::unique_ptr<RowReader> reader_;
  int64_t rows_of_source_ = 0;
  double bytes_before_ = 0, bytes_of_file_ = 0, bytes_of_all_ = 0;
};

}  // namespace hone::data
