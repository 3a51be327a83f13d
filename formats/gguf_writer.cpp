#include "formats/gguf_writer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"
#include "formats/dtype.h"

namespace hone::formats {
namespace {

using core::ErrorKind;
using core::fail;

constexpr uint64_t kAlignment = 32;  // what a reader assumes without general.alignment

// Numbers of the value types.
constexpr uint32_t kUint32 = 4, kInt32 = 5, kFloat32 = 6, kBool = 7, kString = 8, kArray = 9;

template <typename T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_text(std::string& bytes, const std::string& text) {
  append<uint64_t>(bytes, text.size());
  bytes += text;
}

uint64_t aligned(uint64_t offset) { return (offset + kAlignment - 1) / kAlignment * kAlignment; }

uint64_t bytes_of(const GgufTensorSpec& tensor) {
  const GgmlTypeInfo& info = ggml_type_info(tensor.type);
  const auto numel = shape_numel(tensor.shape);
  const uint64_t row = tensor.shape.empty() ? 1 : static_cast<uint64_t>(tensor.shape.back());
  if (!numel || row % info.block_elements != 0) {
    fail(ErrorKind::kInternal,
         {.what = std::string("rows do not hold whole blocks of ") + info.name,
          .where = tensor.name,
          .got = format_shape(tensor.shape)});
  }
  return *numel / info.block_elements * info.block_bytes;
}

}  // namespace

void GgufKeys::start(const std::string& key, uint32_t type) {
  append_text(bytes_, key);
  append(bytes_, type);
  ++size_;
}

void GgufKeys::add_text(const std::string& key, const std::string& value) {
  start(key, kString);
  append_text(bytes_, value);
}

void GgufKeys::add_number(const std::string& key, uint64_t value) {
  if (value > std::numeric_limits<uint32_t>::max()) {
    fail(ErrorKind::kBadInput, {.what = "the value does not fit into a GGUF file",
                                .where = key,
                                .got = std::to_string(value),
                                .expected = "a number below 2^32"});
  }
  start(key, kUint32);
  append(bytes_, static_cast<uint32_t>(value));
}

void GgufKeys::add_real(const std::string& key, double value) {
  start(key, kFloat32);
  append(bytes_, static_cast<float>(value));
}

void GgufKeys::add_flag(const std::string& key, bool value) {
  start(key, kBool);
  append<uint8_t>(bytes_, value ? 1 : 0);
}

void GgufKeys::add_texts(const std::string& key, const std::vector<std::string>& values) {
  start(key, kArray);
  append(bytes_, kString);
  append<uint64_t>(bytes_, values.size());
  for (const std::string& value : values) append_text(bytes_, value);
}

void GgufKeys::add_integers(const std::string& key, const std::vector<int32_t>& values) {
  start(key, kArray);
  append(bytes_, kInt32);
  append<uint64_t>(bytes_, values.size());
  for (const int32_t value : values) append(bytes_, value);
}

void GgufKeys::add_reals(const std::string& key, const std::vector<double>& values) {
  start(key, kArray);
  append(bytes_, kFloat32);
  append<uint64_t>(bytes_, values.size());
  for (const double value : values) append(bytes_, static_cast<float>(value));
}

GgufWriter::GgufWriter(const std::filesystem::path& path, const GgufKeys& keys,
                       const std::vector<GgufTensorSpec>& tensors)
    : path_(path), file_(path) {
  header_ = "GGUF";
  append<uint32_t>(header_, 3);
  append<uint64_t>(header_, tensors.size());
  append<uint64_t>(header_, keys.size());
  header_ += keys.bytes();
  uint64_t offset = 0;
  for (const GgufTensorSpec& tensor : tensors) {
    append_text(header_, tensor.name);
    append(header_, static_cast<uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) {
      append(header_, static_cast<uint64_t>(*size));
    }
    append(header_, static_cast<uint32_t>(tensor.type));
    append(header_, offset);
    const uint64_t bytes = bytes_of(tensor);
    if (!places_.emplace(tensor.name, Place{offset, offset + bytes}).second) {
      fail(ErrorKind::kInternal, {.what = "duplicate tensor", .where = tensor.name});
    }
    data_bytes_ += bytes;
    offset = aligned(offset + bytes);
  }
  const uint64_t data_start = aligned(header_.size());
  header_.resize(data_start, '\0');
  for (auto& [name, place] : places_) {
    place.begin += data_start;
    place.end += data_start;
  }
  file_bytes_ = data_start + offset;
  file_.write_at(0, std::as_bytes(std::span(header_)));
}

void GgufWriter::write(const std::string& name, uint64_t offset, std::span<const std::byte> bytes) {
  const auto place = places_.find(name);
  if (place == places_.end() || offset + bytes.size() > place->second.end - place->second.begin) {
    fail(ErrorKind::kInternal, {.what = "not a part of a planned tensor", .where = name});
  }
  file_.write_at(place->second.begin + offset, bytes);
  written_ += bytes.size();
}

void GgufWriter::commit() {
  if (written_ != data_bytes_) {
    fail(ErrorKind::kInternal, {.what = "some tensors were not written",
                                .where = path_.string(),
                                .got = std::to_string(written_) + " bytes",
                                .expected = std::to_string(data_bytes_)});
  }
  // The padding behind the last tensor belongs to the file.
  uint64_t last = 0;
  for (const auto& [name, place] : places_) last = std::max(last, place.end);
  const std::string padding(file_bytes_ - std::max<uint64_t>(last, header_.size()), '\0');
  if (!padding.empty())
    file_.write_at(file_bytes_ - padding.size(), std::as_bytes(std::span(padding)));
  file_.commit();
}

}  // namespace hone::formats
