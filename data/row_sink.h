// Where built rows go, in the order of the files: without duplicates into the token cache, counted
// by source.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/built_row.h"
#include "data/token_cache.h"

namespace hone::data {

class RowSink {
 public:
  RowSink(const std::vector<DatasetSource>& sources, const DatasetOptions& options,
          const std::filesystem::path& cache_folder, const std::string& key);
  void add(size_t source, const BuiltRow& row);
  // A row left out by `on_bad_row: skip`; the first one's message is shown.
  void add_bad_row(size_t source, const std::string& message);
  // Totals over all sources so far.
  DatasetTotals totals() const;
  // Checks the dataset as a whole (rows, trained tokens, end of turn), warns about what was skipped
  // or split, and makes the cache appear. Throws kBadInput.
  void finish();

 private:
  void check(const DatasetTotals& totals) const;

  const std::vector<DatasetSource>& sources_;
  TokenCacheWriter writer_;
  std::optional<RowHashSet> seen_;
  std::vector<DatasetTotals> totals_;
  bool has_end_of_turn_ = false;
  std::string first_bad_row_;
};

}  // namespace hone::data
