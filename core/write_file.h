// A file that is there already, written at offsets by several threads and processes at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace hone::core {

class WriteFile {
 public:
  WriteFile() = default;
  explicit WriteFile(const std::filesystem::path& path);  // throws as fail_errno
  WriteFile(WriteFile&& other) noexcept;
  WriteFile& operator=(WriteFile&& other) noexcept;
  ~WriteFile();
  uint64_t size() const;                                             // throws kIo
  void write_at(uint64_t offset, std::span<const std::byte> bytes);  // throws kIo
  void sync();                                                       // fsync; throws kIo

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

// Makes `path`, `size` bytes long and without blocks, which bytes that are written later take from
// the disk: one that is full is an error then. Throws kCannotCreate when it is there already, kIo;
// leaves nothing behind when it throws.
void create_sparse_file(const std::filesystem::path& path, uint64_t size);

// All of `bytes` to an open file; `path` is for the error. Throws kIo.
void write_fully(int descriptor, uint64_t offset, std::span<const std::byte> bytes,
                 const std::filesystem::path& path);

}  // namespace hone::core
