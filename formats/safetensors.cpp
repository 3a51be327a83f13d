#include "formats/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "formats/safetensors_header.h"
#include "formats/tensor_parts.h"

namespace hone::formats {
namespace {

using core::ErrorKind;
using core::fail;

static_assert(std::endian::native == std::endian::little, "weight files are little-endian");

std::string entry_json(const TensorEntry& t) {
  std::string shape;
  for (const int64_t d : t.shape) shape += (shape.empty() ? "" : ",") + std::to_string(d);
  return core::Json(t.name).dump() + ":{\"dtype\":\"" + std::string(dtype_name(t.dtype)) +
         "\",\"shape\":[" + shape + "],\"data_offsets\":[" + std::to_string(t.begin) + "," +
         std::to_string(t.end) + "]}";
}

std::string metadata_json(const Metadata& metadata) {
  core::Json object = core::Json::object();
  for (const auto& [key, value] : metadata) object[key] = value;
  return "\"__metadata__\":" + object.dump();
}

// Gives every tensor its place from 0 on, in the order the reference writer uses; returns the
// data's size.
uint64_t place_tensors(std::vector<TensorEntry>& tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name;
  });
  uint64_t end = 0;
  std::set<std::string_view> names;
  for (TensorEntry& t : tensors) {
    const auto size = tensor_bytes(t.dtype, t.shape);
    if (!size) {
      fail(ErrorKind::kInternal,
           {.what = "tensor can't be stored",
            .where = t.name,
            .got = std::string(dtype_name(t.dtype)) + " " + format_shape(t.shape)});
    }
    if (!names.insert(t.name).second) {
      fail(ErrorKind::kInternal, {.what = "tensor is written twice", .where = t.name});
    }
    t.begin = end;
    t.end = end += *size;
  }
  return end;
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  SafetensorsFile file;
  file.path_ = path;
  file.map_ = core::MappedFile(path);
  file.file_ = core::ReadFile(path);
  const std::string_view text = file.map_.text();
  if (text.size() < 8) {
    fail(ErrorKind::kBadInput, {.what = "the file is too short for a safetensors header",
                                .where = path,
                                .got = std::to_string(text.size()) + " bytes",
                                .expected = "8 or more",
                                .hint = "the file is truncated: fetch it again"});
  }
  uint64_t length = 0;
  std::memcpy(&length, text.data(), 8);
  if (length > kMaxSafetensorsHeader) {
    fail(ErrorKind::kBadInput, {.what = "the header length at byte 0 is too large",
                                .where = path,
                                .got = std::to_string(length),
                                .expected = "at most " + std::to_string(kMaxSafetensorsHeader),
                                .hint = "this is not a safetensors file"});
  }
  if (length > text.size() - 8) {
    fail(ErrorKind::kBadInput, {.what = "the header runs past the end of the file",
                                .where = path,
                                .got = "a header of " + std::to_string(length) +
                                       " bytes in a file of " + std::to_string(text.size()),
                                .hint = "the file is truncated: fetch it again"});
  }
  const std::string_view json = text.substr(8, length);
  if (!json.starts_with('{')) {
    fail(ErrorKind::kBadInput,
         {.what = "the header does not start with '{' at byte 8", .where = path});
  }
  SafetensorsHeader header = parse_safetensors_header(json, text.size(), path);
  file.metadata_ = std::move(header.metadata);
  file.tensors_ = std::move(header.tensors);
  file.index_ = index_by_name(file.tensors_);
  return file;
}

const TensorEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

std::span<const std::byte> SafetensorsFile::bytes(const TensorEntry& tensor) const {
  return map_.bytes().subspan(tensor.begin, tensor.num_bytes());
}

void SafetensorsFile::read(const TensorEntry& tensor, uint64_t offset,
                           std::span<std::byte> to) const {
  if (offset > tensor.num_bytes() || to.size() > tensor.num_bytes() - offset) {
    core::fail(core::ErrorKind::kInternal, {.what = "read beyond the end of a tensor",
                                            .where = path_.string() + ": " + tensor.name});
  }
  file_.read_at(tensor.begin + offset, to);
}

const TensorEntry* SafetensorsPlan::find(std::string_view name) const {
  for (const TensorEntry& t : tensors) {
    if (t.name == name) return &t;
  }
  return nullptr;
}

SafetensorsPlan plan_safetensors(const std::vector<TensorSpec>& tensors, const Metadata& metadata) {
  SafetensorsPlan plan;
  for (const TensorSpec& t : tensors) {
    plan.tensors.push_back({.name = t.name, .dtype = t.dtype, .shape = t.shape});
  }
  const uint64_t data_bytes = place_tensors(plan.tensors);
  std::string json = "{";
  if (!metadata.empty()) json += metadata_json(metadata);
  for (const TensorEntry& t : plan.tensors) json += (json.size() > 1 ? "," : "") + entry_json(t);
  json += "}";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  const uint64_t length = json.size();
  plan.header.assign(reinterpret_cast<const char*>(&length), 8);
  plan.header += json;
  for (TensorEntry& t : plan.tensors) {
    t.begin += plan.header.size();
    t.end += plan.header.size();
  }
  plan.file_bytes = plan.header.size() + data_bytes;
  return plan;
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, SafetensorsPlan plan)
    : path_(path),
      plan_(std::move(plan)),
      index_(index_by_name(plan_.tensors)),
      file_(path, plan_.file_bytes),
      bytes_written_(std::make_unique<std::atomic<uint64_t>>(0)) {
  file_.write_at(0, std::as_bytes(std::span(plan_.header)));
}

SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  const auto found = index_.find(std::string(name));
  if (found != index_.end() && plan_.tensors[found->second].num_bytes() != bytes.size()) {
    fail(ErrorKind::kInternal,
         {.what = "tensor has the wrong size",
          .where = path_.string() + ": " + std::string(name),
          .got = std::to_string(bytes.size()) + " bytes",
          .expected = std::to_string(plan_.tensors[found->second].num_bytes())});
  }
  write_part(name, 0, bytes);
}

void SafetensorsWriter::write_part(std::string_view name, uint64_t offset,
                                   std::span<const std::byte> bytes) {
  const uint64_t place =
      place_of_part(plan_.tensors, index_, std::string(name), offset, bytes.size(), path_);
  file_.write_at(place, bytes);
  *bytes_written_ += bytes.size();
}

void SafetensorsWriter::commit() {
  const uint64_t expected = plan_.file_bytes - plan_.header.size();
  if (*bytes_written_ != expected) {
    fail(ErrorKind::kInternal, {.what = "file is not complete",
                                .where = path_,
                                .got = std::to_string(*bytes_written_) + " bytes of data",
                                .expected = std::to_string(expected)});
  }
  file_.commit();
}

}  // namespace hone::formats
