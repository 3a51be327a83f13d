// Which rows were seen: 128-bit hashes in an open-addressing table that lives in a nameless,
// memory-mapped file, so that it is the page cache that grows with the rows and not the heap.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "data/row_format.h"

namespace hone::data {

using RowHash = std::array<uint64_t, 2>;

// The first 128 bits of the SHA-256 of the parsed row with its keys sorted: rows are equal whatever
// the format, column names and order of keys they came in.
RowHash hash_of(const Row& row);

class RowHashSet {
 public:
  explicit RowHashSet(const std::filesystem::path& folder);  // where the file is made; throws kIo
  RowHashSet(const RowHashSet&) = delete;
  RowHashSet& operator=(const RowHashSet&) = delete;
  ~RowHashSet();
  bool insert(const RowHash& hash);  // whether it is new

 private:
  RowHash* map_table(size_t num_slots) const;
  void grow();

  std::filesystem::path folder_;
  RowHash* table_ = nullptr;  // {0, 0} is an empty slot
  size_t num_slots_, num_used_ = 0;
};

}  // namespace hone::data
