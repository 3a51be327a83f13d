// A file arriving in pieces, in any order, over several runs: its content followed by one byte for
// each block that is there. A process that dies loses at most the block it was writing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace hone::hub {

struct ByteRange {
  uint64_t begin = 0, end = 0;
  uint64_t size() const { return end - begin; }
};

class PartialFile {
 public:
  // Goes on with what is there when it was made for the same size; links are not followed. While
  // another process holds `path`, a name of its own is used and removed at the end.
  PartialFile(std::filesystem::path path, uint64_t size, uint64_t block_bytes);
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  uint64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }
  uint64_t arrived() const;  // bytes of whole blocks
  // What is missing, each piece at most `max_bytes` (a multiple of the block) and aligned to
  // blocks.
  std::vector<ByteRange> missing(uint64_t max_bytes) const;

  void write_at(uint64_t offset, std::string_view bytes);  // throws kIo
  // Blocks that lie whole in [begin, end) are there; the end of the file ends its last block.
  // Returns where the marks end: `begin` of the next call.
  uint64_t mark(uint64_t begin, uint64_t end);
  void forget_all();

  // Cuts the marks off, syncs, and renames to `target`.
  void finish(const std::filesystem::path& target);
  void remove();

 private:
  bool open_locked(const std::filesystem::path& path);
  void load_marks();
  void write_fully(uint64_t offset, std::string_view bytes);

  std::filesystem::path path_;
  uint64_t size_, block_bytes_;
  std::vector<char> marks_;  // one thread writes an element at a time
  int descriptor_ = -1;
  bool is_shared_ = true;  // kept when unfinished, for the next run
};

}  // namespace hone::hub
