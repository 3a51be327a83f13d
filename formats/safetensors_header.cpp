#include "formats/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>

#include "core/error.h"

namespace hone::formats {
namespace {

using core::ErrorKind;
using core::fail;

std::string tensor_place(const std::string& file, const std::string& tensor) {
  return file + ": tensor \"" + tensor.substr(0, 200) + "\"";
}

// Reads {"name": {"dtype": "F32", "shape": [..], "data_offsets": [b, e]}, "__metadata__": {"k":
// "v"}} as events: a header with very many tensors then needs no document in memory, and duplicate
// keys are seen.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderReader(SafetensorsHeader& header, std::string file)
      : header_(header), file_(std::move(file)) {}

  bool null() override { wrong_value("null"); }
  bool boolean(bool) override { wrong_value("a boolean"); }
  bool number_float(double, const std::string& text) override { wrong_value(text); }
  bool binary(binary_t&) override { wrong_value("binary"); }

  bool number_integer(int64_t value) override {
    wrong_value(std::to_string(value));  // nlohmann sends only negative numbers here
  }

  bool number_unsigned(uint64_t value) override {
    if (depth_ != 3) wrong_value(std::to_string(value));
    if (field_ == "shape") {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        bad("a dimension is too large", std::to_string(value), "at most 2^63 - 1");
      }
      tensor_.shape.push_back(static_cast<int64_t>(value));
    } else {
      offsets_.push_back(value);
      if (offsets_.size() > 2)
        bad("data_offsets has too many numbers", "3 or more", "[begin, end]");
    }
    return true;
  }

  bool string(std::string& value) override {
    if (depth_ == 2 && in_metadata_) {
      header_.metadata[field_] = value;
    } else if (depth_ == 2 && field_ == "dtype") {
      tensor_.dtype = parse_dtype(value, tensor_place(file_, tensor_.name));
    } else {
      wrong_value("a string");
    }
    return true;
  }

  bool start_object(size_t) override {
    if (depth_ >= 2) wrong_value("an object");
    ++depth_;
    return true;
  }

  bool key(std::string& name) override {
    if (depth_ == 1) {
      if (!names_.insert(name).second) {
        fail(ErrorKind::kBadInput,
             {.what = "duplicate tensor in the header", .where = tensor_place(file_, name)});
      }
      in_metadata_ = name == "__metadata__";
      tensor_ = {.name = name};
      offsets_.clear();
      fields_.clear();
      return true;
    }
    field_ = name;
    if (!fields_.insert(name).second) bad("duplicate key \"" + name + "\"");
    if (!in_metadata_ && name != "dtype" && name != "shape" && name != "data_offsets") {
      bad("unknown key \"" + name.substr(0, 80) + "\"", "", "dtype, shape and data_offsets");
    }
    return true;
  }

  bool end_object() override {
    if (--depth_ == 1 && !in_metadata_) end_tensor();
    return true;
  }

  bool start_array(size_t) override {
    if (depth_ != 2 || in_metadata_ || field_ == "dtype") wrong_value("an array");
    ++depth_;
    return true;
  }

  bool end_array() override {
    --depth_;
    return true;
  }

  bool parse_error(size_t position, const std::string& token,
                   const nlohmann::detail::exception& e) override {
    const std::string message = e.what();
    const bool utf8 = message.find("UTF-8") != std::string::npos;
    fail(ErrorKind::kBadInput,
         {.what =
              std::string(utf8 ? "the header is not valid UTF-8" : "the header is not valid JSON") +
              " at byte " + std::to_string(7 + position),
          .where = file_,
          .got = utf8 || token.empty()
                     ? ""
                     : "\"" + token.substr(token.size() > 40 ? token.size() - 40 : 0) + "\""});
  }

 private:
  [[noreturn]] void bad(std::string what, std::string got = "", std::string expected = "") const {
    fail(ErrorKind::kBadInput,
         {.what = std::move(what),
          .where = in_metadata_ ? file_ + ": __metadata__" : tensor_place(file_, tensor_.name),
          .got = std::move(got),
          .expected = std::move(expected)});
  }

  [[noreturn]] void wrong_value(const std::string& got) const {
    if (depth_ == 0) {
      fail(ErrorKind::kBadInput,
           {.what = "the header is not a JSON object", .where = file_, .got = got});
    }
    if (depth_ == 1) bad("is not a JSON object", got, "{\"dtype\", \"shape\", \"data_offsets\"}");
    if (in_metadata_) bad("the value of \"" + field_ + "\" is not a string", got, "a string");
    if (field_ == "dtype") bad("dtype is not a string", got, "a name like \"F32\"");
    bad(field_ + " is wrong", got, "an array of non-negative integers");
  }

  void end_tensor() {
    for (const char* field : {"dtype", "shape", "data_offsets"}) {
      if (!fields_.contains(field)) bad(std::string("has no \"") + field + "\"");
    }
    if (offsets_.size() != 2) {
      bad("data_offsets has too few numbers", std::to_string(offsets_.size()), "[begin, end]");
    }
    tensor_.begin = offsets_[0];
    tensor_.end = offsets_[1];
    header_.tensors.push_back(std::move(tensor_));
  }

  SafetensorsHeader& header_;
  std::string file_;
  int depth_ = 0;
  bool in_metadata_ = false;
  std::string field_;
  TensorEntry tensor_;
  std::vector<uint64_t> offsets_;
  std::unordered_set<std::string> names_;
  std::unordered_set<std::string> fields_;
};

std::string format_range(const TensorEntry& t) {
  return "[" + std::to_string(t.begin) + ", " + std::to_string(t.end) + "]";
}

// One tensor by itself: its offsets and its size. `data_bytes` is the size of what follows the
// header.
void check_tensor(const TensorEntry& t, uint64_t data_bytes, const std::string& file) {
  const std::string where = tensor_place(file, t.name);
  if (t.begin > t.end) {
    fail(ErrorKind::kBadInput,
         {.what = "data_offsets run backwards", .where = where, .got = format_range(t)});
  }
  if (t.end > data_bytes) {
    fail(ErrorKind::kBadInput,
         {.what = "data_offsets run past the end of the file",
          .where = where,
          .got = format_range(t),
          .expected = "at most " + std::to_string(data_bytes) + " bytes of data",
          .hint = "the file is truncated: fetch it again"});
  }
  const std::string type = std::string(dtype_name(t.dtype)) + " " + format_shape(t.shape);
  const auto numel = shape_numel(t.shape);
  uint64_t bits = 0;
  if (!numel || __builtin_mul_overflow(*numel, uint64_t(dtype_bits(t.dtype)), &bits)) {
    fail(ErrorKind::kBadInput, {.what = "the size overflows 64 bits", .where = where, .got = type});
  }
  if (bits % 8 != 0) {
    fail(ErrorKind::kBadInput, {.what = "the elements do not fill whole bytes",
                                .where = where,
                                .got = type + ", " + std::to_string(bits) + " bits"});
  }
  if (bits / 8 != t.end - t.begin) {
    fail(ErrorKind::kBadInput,
         {.what = "data_offsets do not fit the shape",
          .where = where,
          .got = format_range(t) + ", " + std::to_string(t.end - t.begin) + " bytes",
          .expected = std::to_string(bits / 8) + " bytes for " + type});
  }
}

// In the order of their offsets the tensors fill the data exactly.
void check_tiling(const std::vector<TensorEntry>& tensors, uint64_t data_bytes,
                  const std::string& file) {
  uint64_t end = 0;
  for (const TensorEntry& t : tensors) {
    if (t.begin != end) {
      fail(ErrorKind::kBadInput, {.what = t.begin > end ? "there is a hole before the tensor's data"
                                                        : "the tensor's data overlaps another's",
                                  .where = tensor_place(file, t.name),
                                  .got = "begin " + std::to_string(t.begin),
                                  .expected = "begin " + std::to_string(end)});
    }
    end = t.end;
  }
  if (end != data_bytes) {
    fail(ErrorKind::kBadInput, {.what = "the file has bytes that belong to no tensor",
                                .where = file,
                                .got = std::to_string(data_bytes) + " bytes of data",
                                .expected = std::to_string(end) + " (the end of the last tensor)"});
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t file_bytes,
                                           const std::string& file) {
  SafetensorsHeader header;
  HeaderReader reader(header, file);
  nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
  const uint64_t data_start = 8 + json.size(), data_bytes = file_bytes - data_start;
  std::sort(header.tensors.begin(), header.tensors.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  for (const TensorEntry& t : header.tensors) check_tensor(t, data_bytes, file);
  check_tiling(header.tensors, data_bytes, file);
  for (TensorEntry& t : header.tensors) {
    t.begin += data_start;
    t.end += data_start;
  }
  return header;
}

}  // namespace hone::formats
