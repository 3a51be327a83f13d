// One safetensors file: `u64 length | JSON header | data`, read through a memory map and written by
// offset. https://github.com/huggingface/safetensors#format
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/files.h"
#include "formats/dtype.h"

namespace hone::formats {

inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;  // bytes, as the reference reader

// A tensor before it has a place in a file.
struct TensorSpec {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
};

// A tensor inside a file; [begin, end) are byte offsets from the start of the file.
struct TensorEntry {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
  uint64_t num_bytes() const { return end - begin; }
};

using Metadata = std::map<std::string, std::string>;

// A file whose header passed every rule: length, UTF-8, JSON without duplicate keys, known dtypes,
// non-negative integer dimensions, sizes that match, and tensors that tile the data without holes,
// overlaps or trailing bytes.
class SafetensorsFile {
 public:
  // Throws kMissingInput, or kBadInput naming file, tensor and byte offset. Reads the header only.
  static SafetensorsFile open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const Metadata& metadata() const { return metadata_; }
  const std::vector<TensorEntry>& tensors() const { return tensors_; }  // in file order
  const TensorEntry* find(std::string_view name) const;                 // nullptr if absent
  // The tensor's bytes in the map; valid while this object lives. Aligned as the file is: not
  // always to the dtype.
  std::span<const std::byte> bytes(const TensorEntry& tensor) const;
  std::span<const std::byte> map() const { return map_.bytes(); }  // the whole file
  // Reads part of the tensor, from `offset` bytes into it, without leaving it in the map.
  // Thread-safe. Throws kIo.
  void read(const TensorEntry& tensor, uint64_t offset, std::span<std::byte> to) const;

 private:
  std::filesystem::path path_;
  core::MappedFile map_;
  core::ReadFile file_;
  Metadata metadata_;
  std::vector<TensorEntry> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

// The layout of a file to be written.
struct SafetensorsPlan {
  std::string header;                // the length and the JSON, padded to a multiple of 8
  std::vector<TensorEntry> tensors;  // by dtype size descending, then name
  uint64_t file_bytes = 0;
  const TensorEntry* find(std::string_view name) const;  // linear in the number of tensors
};

// Throws kInternal for duplicate names or impossible shapes.
SafetensorsPlan plan_safetensors(const std::vector<TensorSpec>& tensors,
                                 const Metadata& metadata = {{"format", "pt"}});

// Writes a planned file through a temporary one that is renamed by commit(). Calls to write() may
// come from several threads, in any order, for disjoint ranges.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, SafetensorsPlan plan);
  SafetensorsWriter(SafetensorsWriter&&) noexcept;
  ~SafetensorsWriter();
  const SafetensorsPlan& plan() const { return plan_; }
  // The whole tensor. Throws kInternal for an unknown name or a wrong size, kIo.
  void write(std::string_view name, std::span<const std::byte> bytes);
  // A part of it, starting `offset` bytes into the tensor.
  void write_part(std::string_view name, uint64_t offset, std::span<const std::byte> bytes);
  // Throws kInternal when some bytes were never written.
  void commit();

 private:
  std::filesystem::path path_;
  SafetensorsPlan plan_;
  std::unordered_map<std::string, size_t> index_;
  core::PendingFile file_;
  std::unique_ptr<std::atomic<uint64_t>> bytes_written_;
};

}  // namespace hone::formats
