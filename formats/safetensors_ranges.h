// One safetensors file written by several processes at once, each its own byte ranges of it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/write_file.h"
#include "formats/safetensors.h"

namespace hone::formats {

// Makes `path` with the header of `plan` and its whole size; the data is zeros that take no place
// on the disk until they are written. Durable. Once, by one process, before the others open it.
// Throws kCannotCreate when it is there already, kIo; leaves nothing behind when it throws.
void create_planned_file(const std::filesystem::path& path, const SafetensorsPlan& plan);

// One process's hand on a file made by create_planned_file. The file has its final name from the
// start and no record of what is still missing: it belongs in a folder that is renamed or given a
// manifest once every process has synced.
class RangeWriter {
 public:
  // Throws kMissingInput, kIo, and kBadInput when the file's size or header is not the plan's.
  RangeWriter(const std::filesystem::path& path, const SafetensorsPlan& plan);

  // Bytes [offset, offset + bytes.size()) of the tensor's data. Thread-safe, for disjoint ranges.
  // Throws kInternal for an unknown name or bytes past the tensor's end, kIo when the disk is full
  // or broken.
  void write(const std::string& name, uint64_t offset, std::span<const std::byte> bytes);

  // How many bytes write() has written; over all processes they are the plan's data when nothing
  // was left out or written twice.
  uint64_t bytes_written() const { return *bytes_written_; }

  // What this process wrote is on the disk. Throws kIo, also for writes the disk refused later.
  void sync() { file_.sync(); }

 private:
  std::filesystem::path path_;
  core::WriteFile file_;
  std::vector<TensorEntry> tensors_;
  std::unordered_map<std::string, size_t> index_;
  std::unique_ptr<std::atomic<uint64_t>> bytes_written_;
};

}  // namespace hone::formats
