#include "data/row_reader.h"

#include "data/file_readers.h"
#include "data/file_type.h"

namespace hone::data {
namespace fs = std::filesystem;
namespace {

// Every column that parse_row looks at for a format, under our names.
std::vector<std::string> columns_of(RowFormat format) {
  switch (format) {
    case RowFormat::kMessages:
      return {"messages", "tools", "documents", "chat_template_kwargs"};
    case RowFormat::kShareGpt:
      return {"conversations", "system", "tools", "documents", "chat_template_kwargs"};
    case RowFormat::kAlpaca:
      return {"instruction", "input", "output", "system"};
    case RowFormat::kPromptCompletion:
      return {"prompt", "completion", "tools", "documents", "chat_template_kwargs"};
    case RowFormat::kText:
      return {"text"};
  }
  return {};
}

std::vector<std::string> under_file_names(std::vector<std::string> names,
                                          const DatasetSource& source) {
  for (std::string& name : names) {
    for (const auto& [ours, theirs] : source.columns) {
      if (ours == name) {
        name = theirs;
        break;
      }
    }
  }
  return names;
}

}  // namespace

std::unique_ptr<RowReader> open_rows(const fs::path& path, const DatasetSource& source) {
  const FileType type = file_type_of(path.string())
                            .value_or(FileType{.kind = FileKind::kJson, .extension = ".jsonl"});
  switch (type.kind) {
    case FileKind::kCsv:
      return open_csv_rows(
          path, type,
          under_file_names({"messages", "conversations", "chat_template_kwargs"}, source));
    case FileKind::kText:
      return open_text_rows(path, type, source.sample_by);
    case FileKind::kParquet:
      return open_parquet_rows(path, under_file_names(columns_of(source.format), source));
    case FileKind::kJson:
      break;
  }
  return open_json_rows(path, type);
}

}  // namespace hone::data
