// Files that are never seen half written: write to a temporary name, fsync, rename, fsync the
// folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace hone::core {

// The whole file. Throws kMissingInput if it is not there, kBadInput if it is larger than
// max_bytes.
std::string read_file(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 32);

// Writes `bytes` under a temporary name in the same folder, then fsync, rename, fsync of the
// folder. Throws kIo or kCannotCreate; the temporary file is removed and an older `path` is left as
// it was.
void write_file_atomic(const std::filesystem::path& path, std::string_view bytes);

void fsync_file(const std::filesystem::path& path);
void fsync_folder(const std::filesystem::path& path);

// create_directories / rename / copy / remove_all that throw Error with the path instead of
// filesystem_error.
void make_folders(const std::filesystem::path& path);
void rename_durable(const std::filesystem::path& from, const std::filesystem::path& to);
void copy_file_durable(const std::filesystem::path& from, const std::filesystem::path& to);
void remove_tree(const std::filesystem::path& path);

// Rejects a relative name that could leave its folder: absolute, "..", backslash, NUL, empty or
// over 255 bytes a part.
bool is_safe_relative_path(std::string_view name);

// A read-only memory map of a whole file. Movable. Empty files map to an empty span.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path);  // throws kMissingInput, kIo
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// An open file that is read at offsets, by several threads at once. Unlike a map it leaves nothing
// of the file in this process's memory.
class ReadFile {
 public:
  ReadFile() = default;
  explicit ReadFile(const std::filesystem::path& path);  // throws kMissingInput, kIo
  ReadFile(ReadFile&& other) noexcept;
  ReadFile& operator=(ReadFile&& other) noexcept;
  ~ReadFile();
  // Fills `to`. Throws kIo, also when the file ends before.
  void read_at(uint64_t offset, std::span<std::byte> to) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

// A file being written at offsets (several writers may write disjoint ranges). It appears under its
// final name only after commit(); without commit() the temporary file is removed.
class PendingFile {
 public:
  explicit PendingFile(const std::filesystem::path& final_path, uint64_t size = 0);
  PendingFile(PendingFile&& other) noexcept;
  PendingFile& operator=(PendingFile&&) = delete;
  ~PendingFile();
  void write_at(uint64_t offset, std::span<const std::byte> bytes);  // throws kIo
  void commit();  // fsync, rename, fsync of the folder

 private:
  std::filesystem::path final_path_, temporary_path_;
  int descriptor_ = -1;
};

}  // namespace hone::core
