#include "data/data_files.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "core/error.h"
#include "core/text.h"

namespace hone::data {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

constexpr size_t kMaxRowBytes = size_t{16} << 20;

struct SplitWord {
  std::string_view word, split;
};
constexpr std::array kSplitWords = {
    SplitWord{"train", "train"},
    SplitWord{"training", "train"},
    SplitWord{"validation", "validation"},
    SplitWord{"valid", "validation"},
    SplitWord{"val", "validation"},
    SplitWord{"dev", "validation"},
    SplitWord{"test", "test"},
    SplitWord{"testing", "test"},
    SplitWord{"eval", "test"},
    SplitWord{"evaluation", "test"},
};

std::string split_named_by(std::string_view name) {
  std::string word;
  std::string found;
  const auto end_word = [&] {
    for (const SplitWord& known : kSplitWords) {
      if (found.empty() && known.word == word) found = known.split;
    }
    word.clear();
  };
  for (const char c : name) {
    if (std::string_view("-._ ").find(c) != std::string_view::npos || std::isdigit(c & 0xff)) {
      end_word();
    } else {
      word += static_cast<char>(std::tolower(c & 0xff));
    }
  }
  end_word();
  return found;
}

std::string split_of(const fs::path& file, const fs::path& root) {
  const fs::path relative = file.lexically_relative(root);
  for (const fs::path& part : relative.parent_path()) {
    if (std::string split = split_named_by(part.string()); !split.empty()) return split;
  }
  return split_named_by(relative.stem().string());
}

bool is_data_file(const fs::path& path) {
  static const std::set<std::string> kIgnored = {
      "config.json", "dataset_info.json", "dataset_infos.json",   "dataset_dict.json",
      "state.json",  "tokenizer.json",    "tokenizer_config.json"};
  const std::string extension = path.extension().string();
  return (extension == ".jsonl" || extension == ".ndjson" || extension == ".json") &&
         !kIgnored.contains(path.filename().string());
}

std::vector<fs::path> files_under(const fs::path& folder) {
  std::vector<fs::path> files;
  for (auto it = fs::recursive_directory_iterator(folder); it != fs::recursive_directory_iterator();
       ++it) {
    if (it->path().filename().string().starts_with(".")) {
      if (it->is_directory()) it.disable_recursion_pending();
      continue;
    }
    if (it->is_regular_file() && is_data_file(it->path())) files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

[[noreturn]] void fail_split(const DatasetSource& source, const std::set<std::string>& splits) {
  const std::vector<std::string> known(splits.begin(), splits.end());
  core::fail(ErrorKind::kMissingInput,
             {.what = source.path.string() + " has no split \"" + source.split + "\"",
              .where = source.where,
              .expected = "one of: " + core::join(known, ", ")});
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

std::vector<fs::path> resolve_files(const DatasetSource& source) {
  std::error_code ignored;
  if (!fs::exists(source.path, ignored)) {
    core::fail(ErrorKind::kMissingInput,
               {.what = "dataset not found: " + source.path.string(), .where = source.where});
  }
  if (!fs::is_directory(source.path)) {
    const std::string own = split_named_by(source.path.stem().string());
    if (!source.split.empty() && source.split != own && source.split != "train") {
      fail_split(source, {own.empty() ? "train" : own});
    }
    return {source.path};
  }
  const std::vector<fs::path> all = files_under(source.path);
  std::vector<fs::path> chosen;
  std::set<std::string> splits;
  for (const fs::path& file : all) splits.insert(split_of(file, source.path));
  const bool named = splits.size() > 1 || (splits.size() == 1 && !splits.contains(""));
  const std::string wanted = source.split.empty() ? "train" : source.split;
  for (const fs::path& file : all) {
    const std::string split = named ? split_of(file, source.path) : "train";
    if (split == wanted) chosen.push_back(file);
  }
  if (all.empty()) {
    core::fail(ErrorKind::kMissingInput,
               {.what = "no .jsonl, .ndjson or .json files in " + source.path.string(),
                .where = source.where});
  }
  if (chosen.empty()) {
    DatasetSource asked = source;
    asked.split = wanted;
    splits.erase("");
    fail_split(asked, named ? splits : std::set<std::string>{"train"});
  }
  return chosen;
}

DataFile::DataFile(const fs::path& path, int64_t max_rows) : path_(path), map_(path) {
  std::string_view text = map_.text();
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const size_t first = text.find_first_not_of(" \t\r\n");
  const bool array =
      path.extension() == ".json" && first != std::string_view::npos && text[first] == '[';
  if (array) {
    split_array(text, max_rows);
  } else {
    split_lines(text, max_rows);
  }
}

void DataFile::add_row(std::string_view text, uint32_t line) {
  if (text.size() > kMaxRowBytes) {
    core::fail(ErrorKind::kBadInput, {.what = "row is too long",
                                      .where = path_.string() + ":" + std::to_string(line),
                                      .got = core::format_bytes(static_cast<double>(text.size())),
                                      .expected = "at most 16 MiB"});
  }
  rows_.push_back({line, text});
}

void DataFile::split_lines(std::string_view text, int64_t max_rows) {
  uint32_t line = 0;
  while (!text.empty()) {
    ++line;
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view row = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!row.empty() && is_space(row.back())) row.remove_suffix(1);
    while (!row.empty() && is_space(row.front())) row.remove_prefix(1);
    if (row.empty()) continue;
    if (max_rows > 0 && static_cast<int64_t>(rows_.size()) >= max_rows) return;
    add_row(row, line);
  }
}

// Only finds where elements begin and end; each is parsed strictly later.
void DataFile::split_array(std::string_view text, int64_t max_rows) {
  uint32_t line = 1, row_line = 0;
  size_t row_begin = std::string_view::npos;
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (depth == 1 && row_begin == std::string_view::npos && !is_space(c) && c != ',' && c != ']') {
      row_begin = i;
      row_line = line;
      if (max_rows > 0 && static_cast<int64_t>(rows_.size()) >= max_rows) return;
    }
    if (depth == 1 && (c == ',' || c == ']') && row_begin != std::string_view::npos) {
      size_t row_end = i;
      while (is_space(text[row_end - 1])) --row_end;
      add_row(text.substr(row_begin, row_end - row_begin), row_line);
      row_begin = std::string_view::npos;
    }
    if (c == '"') in_string = true;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth == 0 && c == ']') {
      const size_t rest = text.find_first_not_of(" \t\r\n", i + 1);
      if (rest == std::string_view::npos) return;
      core::fail(ErrorKind::kBadInput, {.what = "text after the end of the JSON array",
                                        .where = path_.string() + ":" + std::to_string(line),
                                        .got = core::excerpt(text.substr(rest))});
    }
  }
  const size_t tail = row_begin == std::string_view::npos ? text.size() : row_begin;
  core::fail(ErrorKind::kBadInput, {.what = "the JSON array is cut off: no closing ]",
                                    .where = path_.string() + ":" + std::to_string(line),
                                    .got = core::excerpt(text.substr(tail)),
                                    .hint = "the file may not have been copied completely"});
}

}  // namespace hone::data
