#include "formats/gguf.h"

#include <bit>
#include <cstring>
#include <type_traits>

#include "core/error.h"
#include "core/text.h"
#include "formats/dtype.h"

namespace hone::formats {
namespace {

using core::ErrorKind;
using core::fail;

constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 20;
constexpr uint64_t kMaxElements = 1 << 25;  // of all arrays together
constexpr uint64_t kMaxStringBytes = 1 << 26;
constexpr uint64_t kMaxDimensions = 4;
constexpr int kMaxArrayDepth = 4;

// The numbers of the value types.
enum ValueType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
  kNumValueTypes,
};

// The fewest bytes a value takes, so that a count can be checked before anything is reserved for
// it.
constexpr uint64_t kMinBytes[kNumValueTypes] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

// Reads forward through the file; every read is checked against its end.
class Cursor {
 public:
  Cursor(std::string_view text, std::string file) : text_(text), file_(std::move(file)) {}

  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return text_.size() - offset_; }
  void set_item(std::string item) { item_ = std::move(item); }

  [[noreturn]] void bad(std::string what, std::string got = "", std::string expected = "",
                        std::string hint = "") const {
    fail(ErrorKind::kBadInput, {.what = std::move(what) + " at byte " + std::to_string(offset_),
                                .where = file_ + (item_.empty() ? "" : ": " + item_),
                                .got = std::move(got),
                                .expected = std::move(expected),
                                .hint = std::move(hint)});
  }

  template <typename T>
  T number() {
    if (remaining() < sizeof(T)) bad_end(sizeof(T));
    T value;
    std::memcpy(&value, text_.data() + offset_, sizeof value);
    offset_ += sizeof value;
    return value;
  }

  std::string string() {
    const auto size = number<uint64_t>();
    if (size > kMaxStringBytes) bad("a string is too long", std::to_string(size) + " bytes");
    if (size > remaining()) bad_end(size);
    std::string value(text_.substr(offset_, size));
    if (!core::is_valid_utf8(value)) bad("a string is not valid UTF-8", core::excerpt(value, 40));
    offset_ += size;
    return value;
  }

  uint64_t count(const char* what, uint64_t limit) {
    const auto value = number<uint64_t>();
    if (value > limit) {
      bad(std::string("the number of ") + what + " is too large", std::to_string(value),
          "at most " + std::to_string(limit));
    }
    return value;
  }

  GgufValue value(uint32_t type, int depth = 0) {
    switch (type) {
      case kUint8:
        return {uint64_t{number<uint8_t>()}};
      case kInt8:
        return {int64_t{number<int8_t>()}};
      case kUint16:
        return {uint64_t{number<uint16_t>()}};
      case kInt16:
        return {int64_t{number<int16_t>()}};
      case kUint32:
        return {uint64_t{number<uint32_t>()}};
      case kInt32:
        return {int64_t{number<int32_t>()}};
      case kFloat32:
        return {double{number<float>()}};
      case kBool:
        return {boolean()};
      case kString:
        return {string()};
      case kArray:
        return {array(depth + 1)};
      case kUint64:
        return {number<uint64_t>()};
      case kInt64:
        return {number<int64_t>()};
      case kFloat64:
        return {number<double>()};
      default:
        bad("unknown value type", std::to_string(type), "0 to 12");
    }
  }

 private:
  [[noreturn]] void bad_end(uint64_t wanted) const {
    bad("the file ends too early", std::to_string(remaining()) + " bytes left",
        std::to_string(wanted), "the file is truncated: fetch it again");
  }

  bool boolean() {
    const auto value = number<uint8_t>();
    if (value > 1) bad("a boolean is neither 0 nor 1", std::to_string(value));
    return value == 1;
  }

  std::vector<GgufValue> array(int depth) {
    if (depth > kMaxArrayDepth) bad("arrays are nested too deep");
    const auto type = number<uint32_t>();
    if (type >= kNumValueTypes) bad("unknown value type", std::to_string(type), "0 to 12");
    const uint64_t size = count("array elements", kMaxElements - num_elements_);
    num_elements_ += size;
    if (size > remaining() / kMinBytes[type]) bad_end(size * kMinBytes[type]);
    std::vector<GgufValue> values;
    values.reserve(size);
    for (uint64_t i = 0; i < size; ++i) values.push_back(value(type, depth));
    return values;
  }

  std::string_view text_;
  std::string file_;
  std::string item_;  // the key or tensor being read
  uint64_t offset_ = 0;
  uint64_t num_elements_ = 0;
};

void check_magic(Cursor& cursor) {
  if (cursor.number<uint32_t>() != 0x46554747) {  // "GGUF"
    cursor.bad("this is not a GGUF file", "", "\"GGUF\" at byte 0");
  }
  const auto version = cursor.number<uint32_t>();
  if (version == 2 || version == 3) return;
  const bool swapped = version != 0 && (version & 0xFFFF) == 0;
  cursor.bad(swapped ? "the file is big-endian" : "unknown GGUF version", std::to_string(version),
             "version 2 or 3, little-endian");
}

// Dimensions as the file has them: fastest first. Gives the tensor's shape and its bytes.
uint64_t read_shape(Cursor& cursor, const GgmlTypeInfo*& info, GgufTensor& tensor) {
  const auto num_dimensions = cursor.number<uint32_t>();
  if (num_dimensions > kMaxDimensions) {
    cursor.bad("too many dimensions", std::to_string(num_dimensions), "at most 4");
  }
  for (uint32_t i = 0; i < num_dimensions; ++i) {
    const auto size = cursor.number<uint64_t>();
    if (size > static_cast<uint64_t>(INT64_MAX)) {
      cursor.bad("a dimension is too large", std::to_string(size));
    }
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
  }
  const auto type = cursor.number<uint32_t>();
  info = find_ggml_type(type);
  if (info == nullptr) {
    cursor.bad("tensor type " + std::to_string(type) + " is not supported", "", known_ggml_types());
  }
  tensor.type = info->type;
  const auto numel = shape_numel(tensor.shape);
  if (!numel) cursor.bad("the size overflows 64 bits", format_shape(tensor.shape));
  const uint64_t row = tensor.shape.empty() ? 1 : static_cast<uint64_t>(tensor.shape.back());
  if (row % info->block_elements != 0) {
    cursor.bad(std::string("rows do not hold whole blocks of ") + info->name, std::to_string(row),
               "a multiple of " + std::to_string(info->block_elements));
  }
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(*numel / info->block_elements, info->block_bytes, &bytes)) {
    cursor.bad("the size overflows 64 bits", format_shape(tensor.shape));
  }
  return bytes;
}

// begin and end are offsets inside the data section here; its start is known only after the last
// tensor.
GgufTensor read_tensor(Cursor& cursor, uint64_t alignment) {
  GgufTensor tensor;
  tensor.name = cursor.string();
  cursor.set_item("tensor \"" + tensor.name.substr(0, 200) + "\"");
  const GgmlTypeInfo* info = nullptr;
  const uint64_t bytes = read_shape(cursor, info, tensor);
  tensor.begin = cursor.number<uint64_t>();
  if (tensor.begin % alignment != 0) {
    cursor.bad("the data offset is not aligned", std::to_string(tensor.begin),
               "a multiple of " + std::to_string(alignment));
  }
  if (__builtin_add_overflow(tensor.begin, bytes, &tensor.end)) {
    cursor.bad("the data offset overflows 64 bits", std::to_string(tensor.begin));
  }
  return tensor;
}

}  // namespace

GgufFile GgufFile::open(const std::filesystem::path& path) {
  GgufFile file;
  file.path_ = path;
  file.map_ = core::MappedFile(path);
  Cursor cursor(file.map_.text(), path);
  check_magic(cursor);
  const uint64_t num_tensors = cursor.count("tensors", kMaxTensors);
  const uint64_t num_keys = cursor.count("metadata keys", kMaxKeys);
  for (uint64_t i = 0; i < num_keys; ++i) {
    cursor.set_item("metadata key " + std::to_string(i + 1) + " of " + std::to_string(num_keys));
    std::string key = cursor.string();
    cursor.set_item("metadata \"" + key.substr(0, 200) + "\"");
    const auto type = cursor.number<uint32_t>();
    if (!file.metadata_.emplace(key, cursor.value(type)).second) cursor.bad("duplicate key");
  }
  cursor.set_item("");
  const uint64_t alignment = file.get_uint("general.alignment").value_or(32);
  if (!std::has_single_bit(alignment) || alignment > (1 << 20)) {
    cursor.bad("general.alignment is wrong", std::to_string(alignment), "a power of two");
  }
  for (uint64_t i = 0; i < num_tensors; ++i) {
    cursor.set_item("tensor " + std::to_string(i + 1) + " of " + std::to_string(num_tensors));
    file.tensors_.push_back(read_tensor(cursor, alignment));
    if (!file.index_.emplace(file.tensors_.back().name, i).second) cursor.bad("duplicate tensor");
  }
  const uint64_t data_start = (cursor.offset() + alignment - 1) / alignment * alignment;
  const uint64_t file_bytes = file.map_.text().size();
  const uint64_t data_bytes = data_start < file_bytes ? file_bytes - data_start : 0;
  for (GgufTensor& t : file.tensors_) {
    if (t.end > data_bytes) {
      cursor.set_item("tensor \"" + t.name + "\"");
      cursor.bad("the data runs past the end of the file",
                 "[" + std::to_string(t.begin) + ", " + std::to_string(t.end) + "]",
                 "at most " + std::to_string(data_bytes) + " bytes of data",
                 "the file is truncated: fetch it again");
    }
    t.begin += data_start;
    t.end += data_start;
  }
  return file;
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

std::span<const std::byte> GgufFile::bytes(const GgufTensor& tensor) const {
  return map_.bytes().subspan(tensor.begin, tensor.end - tensor.begin);
}

}  // namespace hone::formats
