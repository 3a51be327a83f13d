// The reader of each kind of file; row_reader.h chooses.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/file_type.h"
#include "data/row_reader.h"

namespace hone::data {

std::unique_ptr<RowReader> open_json_rows(const std::filesystem::path& path, const FileType& type);
// Cells of `json_columns` (the file's names) that hold JSON are taken as JSON.
std::unique_ptr<RowReader> open_csv_rows(const std::filesystem::path& path, const FileType& type,
                                         std::vector<std::string> json_columns);
std::unique_ptr<RowReader> open_text_rows(const std::filesystem::path& path, const FileType& type,
                                          SampleBy sample_by);
std::unique_ptr<RowReader> open_parquet_rows(const std::filesystem::path& path,
                                             const std::vector<std::string>& columns);

}  // namespace hone::data
