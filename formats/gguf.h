// One GGUF file (versions 2 and 3, little-endian), read through a memory map.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "core/files.h"
#include "formats/gguf_quants.h"

namespace hone::formats {

// A metadata value. All unsigned widths are kept as uint64_t, all signed ones as int64_t, both
// floats as double.
struct GgufValue {
  std::variant<uint64_t, int64_t, double, bool, std::string, std::vector<GgufValue>> value;
};

struct GgufTensor {
  std::string name;
  GgmlType type = GgmlType::kF32;
  std::vector<int64_t>
      shape;  // slowest dimension first, as in Hugging Face files (GGUF itself has the reverse)
  uint64_t begin = 0, end = 0;  // byte offsets from the start of the file
};

// A file whose counts, lengths, types and offsets were all checked against the file's size.
class GgufFile {
 public:
  // Throws kMissingInput, or kBadInput naming the file, the key or tensor, and the byte offset.
  static GgufFile open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, GgufValue>& metadata() const { return metadata_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // in file order
  const GgufTensor* find_tensor(std::string_view name) const;          // nullptr if absent
  std::span<const std::byte> bytes(const GgufTensor& tensor) const;

  // Typed metadata. nullopt or empty if the key is absent; kBadInput naming the key if its type is
  // another.
  std::optional<uint64_t> get_uint(const std::string& key) const;
  std::optional<double> get_float(const std::string& key) const;
  std::optional<bool> get_bool(const std::string& key) const;
  std::optional<std::string> get_string(const std::string& key) const;
  std::vector<std::string> get_strings(const std::string& key) const;
  std::vector<int64_t> get_ints(const std::string& key) const;
  std::vector<double> get_reals(const std::string& key) const;
  uint64_t require_uint(const std::string& key) const;  // kBadInput if absent
  double require_float(const std::string& key) const;
  std::string require_string(const std::string& key) const;

 private:
  const GgufValue* find(const std::string& key) const;
  std::filesystem::path path_;
  core::MappedFile map_;
  std::map<std::string, GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace hone::formats
