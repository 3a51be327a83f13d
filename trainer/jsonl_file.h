// A file of one JSON object a line that a run appends to, and goes on with after an interruption.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "core/json.h"

namespace hone::trainer {

class JsonlFile {
 public:
  // Whether a row of an earlier part of the run stays. A row is an object with an integer "step".
  using Keep = std::function<bool(const core::Json& row)>;

  // Without `keep` a new file; else what is there but for the rows it refuses and lines that are
  // torn or no rows, which go atomically. Throws kIo, kCannotCreate.
  JsonlFile(const std::filesystem::path& path, const Keep& keep);
  ~JsonlFile();
  JsonlFile(const JsonlFile&) = delete;
  JsonlFile& operator=(const JsonlFile&) = delete;

  void append(const std::string& lines);  // whole ones, each with its '\n'; throws kIo
  void sync();                            // before a checkpoint that counts on the rows

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace hone::trainer
