#include "data/file_type.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace hone::data {
namespace {

struct Extension {
  std::string_view text;
  FileKind kind;
};
constexpr std::array kExtensions = {
    Extension{".jsonl", FileKind::kJson},     Extension{".ndjson", FileKind::kJson},
    Extension{".json", FileKind::kJson},      Extension{".csv", FileKind::kCsv},
    Extension{".tsv", FileKind::kCsv},        Extension{".txt", FileKind::kText},
    Extension{".parquet", FileKind::kParquet}};

// What tools write into the folders of datasets and models.
constexpr std::array<std::string_view, 9> kNotData = {
    "config.json",     "dataset_info.json", "dataset_infos.json", "dataset_dict.json",
    "state.json",      "tokenizer.json",    "dummy_data.zip",     "tokenizer_config.json",
    "requirements.txt"};

std::string take_extension(std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos || dot == 0) return "";
  std::string extension = name.substr(dot);
  name.resize(dot);
  return extension;
}

}  // namespace

std::optional<FileType> file_type_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  std::string name(slash == std::string_view::npos ? path : path.substr(slash + 1));
  if (std::ranges::find(kNotData, name) != kNotData.end()) return std::nullopt;
  std::ranges::transform(name, name.begin(),
                         [](char c) { return static_cast<char>(std::tolower(c & 0xff)); });
  FileType type;
  std::string extension = take_extension(name);
  if (extension == ".gz") type.compression = Compression::kGzip;
  if (extension == ".zst" || extension == ".zstd") type.compression = Compression::kZstd;
  const bool compressed = type.compression != Compression::kNone;
  if (compressed) extension = take_extension(name);
  for (const Extension& known : kExtensions) {
    if (known.text != extension || (compressed && known.kind == FileKind::kParquet)) continue;
    type.kind = known.kind;
    type.extension = extension;
    return type;
  }
  return std::nullopt;
}

std::string known_extensions() {
  std::string text;
  for (const Extension& known : kExtensions) text += std::string(known.text) + ", ";
  return text + ".gz and .zst of the text ones";
}

}  // namespace hone::data
