#include "data/row_stream.h"

#include <utility>

namespace hone::data {
namespace fs = std::filesystem;
namespace {

constexpr size_t kChunkRows = 32;
constexpr size_t kChunkBytes = size_t{256} << 10;

}  // namespace

RowStream::RowStream(const std::vector<DatasetSource>& sources,
                     const std::vector<std::vector<fs::path>>& files)
    : sources_(sources), files_(files) {
  for (const auto& list : files) {
    for (const fs::path& file : list) bytes_of_all_ += static_cast<double>(fs::file_size(file));
  }
}

std::optional<RowChunk> RowStream::next() {
  RowChunk chunk;
  while (chunk.rows.empty()) {
    if (!reader_ && !open_next()) return std::nullopt;
    chunk.source = opened_source_;
    chunk.path = opened_path_;
    while (chunk.rows.size() < kChunkRows && chunk.num_bytes < kChunkBytes) {
      if (!read_row(chunk)) break;
    }
  }
  chunk.fraction = fraction();
  return chunk;
}

bool RowStream::open_next() {
  while (source_ < sources_.size()) {
    const int64_t limit = sources_[source_].max_rows;
    if (file_ == files_[source_].size() || (limit > 0 && rows_of_source_ >= limit)) {
      for (; file_ < files_[source_].size(); ++file_)
        bytes_before_ += static_cast<double>(fs::file_size(files_[source_][file_]));
      ++source_;
      file_ = 0;
      rows_of_source_ = 0;
      continue;
    }
    opened_source_ = source_;
    opened_path_ = files_[source_][file_++];
    bytes_of_file_ = static_cast<double>(fs::file_size(opened_path_));
    reader_ = open_rows(opened_path_, sources_[source_]);
    return true;
  }
  return false;
}

bool RowStream::read_row(RowChunk& chunk) {
  const int64_t limit = sources_[opened_source_].max_rows;
  FileRow row;
  if ((limit > 0 && rows_of_source_ >= limit) || !reader_->next(row)) {
    reader_.reset();
    bytes_before_ += bytes_of_file_;
    return false;
  }
  ++rows_of_source_;
  chunk.num_bytes += row.text.size();
  chunk.rows.push_back(std::move(row));
  return true;
}

double RowStream::fraction() const {
  const double here = reader_ ? reader_->fraction() * bytes_of_file_ : 0;
  return bytes_of_all_ > 0 ? (bytes_before_ + here) / bytes_of_all_ : 0;
}

}  // namespace hone::data
