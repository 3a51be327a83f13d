// Two run folders side by side: whether they hold the same numbers, and where they first differ.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "core/json.h"

namespace hone::recipes {

struct RunDifference {
  std::string where;          // "metrics.jsonl, step 3, loss"
  std::string first, second;  // JSON text or bytes in words; "(absent)" where one has none
};

// What of a row depends on the clock or on the machine's load and not on the numbers computed:
// speeds, seconds, memory, shares of a measured rate, what communication cost.
bool is_clock_key(std::string_view key);

struct RowsComparison {
  int64_t num_rows = 0;  // compared
  std::optional<RunDifference> difference;
};
// Rows of `name` ("metrics.jsonl") of the first folder up to `last_step`, in its order, with the
// rows of the second of the same step and kind. Numbers are equal only to the last bit. Rows that
// only the second has are left out: a shorter run ends with a row of its own. Throws kIo.
RowsComparison compare_rows(const std::filesystem::path& first, const std::filesystem::path& second,
                            const std::string& name, int64_t last_step);

struct WeightsComparison {
  int64_t num_tensors = 0, num_different = 0;
  std::optional<RunDifference> difference;  // the first tensor that differs, in file order
  double largest_difference = 0;            // of all elements of tensors of one shape and dtype
  std::string largest_tensor;
  std::string sha256;  // of the first folder's weight files, in the order of their names
};
// Every tensor of the *.safetensors files right in the folders. Throws kMissingInput when the first
// has none, kBadInput for a broken file.
WeightsComparison compare_weights(const std::filesystem::path& first,
                                  const std::filesystem::path& second);

}  // namespace hone::recipes
