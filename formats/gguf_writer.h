// Writes one GGUF file (version 3, little-endian): keys, tensor table, then the data by offset.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/files.h"
#include "formats/gguf_quants.h"

namespace hone::formats {

// Metadata in the order it is added, encoded as in the file.
class GgufKeys {
 public:
  void add_text(const std::string& key, const std::string& value);
  void add_number(const std::string& key, uint64_t value);  // as uint32; kBadInput above that
  void add_real(const std::string& key, double value);      // as float32
  void add_flag(const std::string& key, bool value);
  void add_texts(const std::string& key, const std::vector<std::string>& values);
  void add_integers(const std::string& key, const std::vector<int32_t>& values);
  void add_reals(const std::string& key, const std::vector<double>& values);  // as float32

  uint64_t size() const { return size_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void start(const std::string& key, uint32_t type);
  std::string bytes_;
  uint64_t size_ = 0;
};

struct GgufTensorSpec {
  std::string name;
  GgmlType type = GgmlType::kF32;
  std::vector<int64_t> shape;  // slowest dimension first
};

// The file appears under its name with commit(), whole and synced; without it nothing is left.
class GgufWriter {
 public:
  // Throws kInternal for a duplicate name or rows that do not hold whole blocks, kIo,
  // kCannotCreate.
  GgufWriter(const std::filesystem::path& path, const GgufKeys& keys,
             const std::vector<GgufTensorSpec>& tensors);

  uint64_t file_bytes() const { return file_bytes_; }
  // A part of a tensor, starting `offset` bytes into it; parts must not overlap.
  void write(const std::string& name, uint64_t offset, std::span<const std::byte> bytes);
  // Throws kInternal when some bytes were never written.
  void commit();

 private:
  struct Place {
    uint64_t begin = 0, end = 0;  // from the start of the file
  };
  std::filesystem::path path_;
  std::string header_;
  std::unordered_map<std::string, Place> places_;
  uint64_t data_bytes_ = 0, written_ = 0, file_bytes_ = 0;
  core::PendingFile file_;
};

}  // namespace hone::formats
