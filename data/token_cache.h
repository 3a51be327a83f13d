// Writing a token cache: a folder of flat arrays that TokenCache maps.
//   ids.bin      int32, all rows end to end        trained.bin  uint8, one a token
//   offsets.bin  uint64, num_rows + 1              labels.bin   uint32, labels each row yields
//   meta.json    version, key, totals
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
  void finish(const DatasetTotals& totals);

 private:
  struct FileCloser {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  using File = std::unique_ptr<std::FILE, FileCloser>;
  File create(const char* name) const;
  void write(const File& file, const void* data, size_t size, size_t count, const char* name) const;

  std::filesystem::path final_folder_, staging_;
  std::string key_;
  File ids_, trained_;
  std::vector<uint64_t> offsets_ = {0};
  std::vector<uint32_t> labels_;
};

}  // namespace hone::data
