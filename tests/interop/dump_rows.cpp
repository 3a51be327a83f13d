// What our readers make of a data file, for a comparison outside.
// Usage: dump_rows FILE [line|paragraph|document]   rows as JSON, one a line; problems on stderr
//        dump_rows --files FOLDER NAME SPLIT        the files that are the split, one a line
#include <cstdio>
#include <exception>
#include <string>

#include "data/data_files.h"
#include "data/row_reader.h"

namespace {

using namespace hone;

int list_files(char** argv) {
  const data::DatasetSource source{.path = argv[2], .split = argv[4], .config_name = argv[3]};
  for (const auto& file : data::resolve_files(source))
    std::puts(file.lexically_relative(source.path).c_str());
  return 0;
}

int dump(const std::string& file, const std::string& by) {
  data::DatasetSource source{.format = data::RowFormat::kText};
  if (by == "paragraph") source.sample_by = data::SampleBy::kParagraph;
  if (by == "document") source.sample_by = data::SampleBy::kDocument;
  const auto reader = data::open_rows(file, source);
  for (data::FileRow row; reader->next(row);) {
    if (row.problem.what.empty()) {
      std::printf("%s\n", core::Json::parse(row.text).dump().c_str());
    } else {
      std::fprintf(stderr, "%s:%lu: %s\n", file.c_str(), row.line, row.problem.what.c_str());
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc == 5 && std::string(argv[1]) == "--files") return list_files(argv);
  if (argc == 2 || argc == 3) return dump(argv[1], argc == 3 ? argv[2] : "line");
  std::fputs("usage: dump_rows FILE [SAMPLE_BY] | dump_rows --files FOLDER NAME SPLIT\n", stderr);
  return 64;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
