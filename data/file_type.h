// What a data file is, by its name.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace hone::data {

enum class FileKind { kJson, kCsv, kText, kParquet };
enum class Compression { kNone, kGzip, kZstd };

struct FileType {
  FileKind kind = FileKind::kJson;
  Compression compression = Compression::kNone;
  std::string extension;  // ".jsonl" of "a.jsonl.gz", lower case
};

// .jsonl .ndjson .json; .csv .tsv; .txt, each perhaps with .gz or .zst; .parquet. Nothing for
// other names, and for files that lie beside data but hold none (config.json, tokenizer.json,
// README.md, ...).
std::optional<FileType> file_type_of(std::string_view path);

// ".jsonl, .ndjson, ..." for messages.
std::string known_extensions();

}  // namespace hone::data
