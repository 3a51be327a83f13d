// Writing a token cache: a folder of flat arrays that TokenCache maps.
//   ids.bin      int32, all rows end to end        trained.bin  uint8, one a token
//   offsets.bin  uint64, num_rows + 1              labels.bin   uint32, labels each row yields
//   kept.bin     uint64, the rows with a label    meta.json    version, key, totals of each source
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/row_tokens.h"

namespace hone::data {

// Appends rows to a staging folder beside `final_folder`, which appears, whole, with finish().
// Without it the staging folder is removed.
class TokenCacheWriter {
 public:
  TokenCacheWriter(const std::filesystem::path& final_folder, std::string key);
  TokenCacheWriter(const TokenCacheWriter&) = delete;
  TokenCacheWriter& operator=(const TokenCacheWriter&) = delete;
  ~TokenCacheWriter();
  void append(const MaskedTokens& row);  // throws kIo
  // `totals[s]` of source s, whose num_rows rows were appended after those of the sources before.
  void finish(const std::vector<DatasetTotals>& totals);
  void finish(const DatasetTotals& totals);  // one source

 private:
  struct FileCloser {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  using File = std::unique_ptr<std::FILE, FileCloser>;
  File create(const char* name) const;
  void write(const File& file, const void* data, size_t size, size_t count, const char* name) const;

  std::filesystem::path final_folder_, staging_;
  std::string key_;
  File ids_, trained_, offsets_, labels_, kept_;
  uint64_t num_rows_ = 0, num_tokens_ = 0;
};

}  // namespace hone::data
