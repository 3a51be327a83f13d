// The rows of a run folder's files with one JSON object a line: metrics.jsonl, samples.jsonl.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "core/json.h"

namespace hone::recipes {

// Reads a file that grows. A file that isn't there has no rows; a line without its end waits, one
// that is no object with a whole number "step" is passed over.
class RowReader {
 public:
  explicit RowReader(std::filesystem::path path) : path_(std::move(path)) {}
  std::vector<core::Json> new_rows();  // since the call before; throws kIo

 private:
  std::filesystem::path path_;
  uint64_t offset_ = 0;  // bytes read
};

inline bool is_eval_row(const core::Json& row) { return row.contains("eval_loss"); }

}  // namespace hone::recipes
