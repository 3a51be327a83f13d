// The typed look-ups of GgufFile.
#include "core/error.h"
#include "formats/gguf.h"

namespace hone::formats {
namespace {

using core::ErrorKind;
using core::fail;

[[noreturn]] void fail_type(const GgufFile& file, const std::string& key,
                            const std::string& expected) {
  fail(ErrorKind::kBadInput, {.what = "metadata \"" + key + "\" has the wrong type",
                              .where = file.path(),
                              .expected = expected});
}

[[noreturn]] void fail_absent(const GgufFile& file, const std::string& key) {
  fail(ErrorKind::kBadInput, {.what = "metadata \"" + key + "\" is missing", .where = file.path()});
}

template <typename T>
std::vector<T> array_of(const GgufFile& file, const std::string& key, const char* expected) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) return {};
  const auto* array = std::get_if<std::vector<GgufValue>>(&found->second.value);
  if (array == nullptr) fail_type(file, key, expected);
  std::vector<T> values;
  values.reserve(array->size());
  for (const GgufValue& item : *array) {
    const auto* value = std::get_if<T>(&item.value);
    if (value == nullptr) fail_type(file, key, expected);
    values.push_back(*value);
  }
  return values;
}

}  // namespace

const GgufValue* GgufFile::find(const std::string& key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

std::optional<uint64_t> GgufFile::get_uint(const std::string& key) const {
  const GgufValue* v = find(key);
  if (v == nullptr) return std::nullopt;
  if (const auto* u = std::get_if<uint64_t>(&v->value)) return *u;
  const auto* i = std::get_if<int64_t>(&v->value);
  if (i == nullptr || *i < 0) fail_type(*this, key, "a non-negative integer");
  return static_cast<uint64_t>(*i);
}

std::optional<double> GgufFile::get_float(const std::string& key) const {
  const GgufValue* v = find(key);
  if (v == nullptr) return std::nullopt;
  const auto* d = std::get_if<double>(&v->value);
  if (d == nullptr) fail_type(*this, key, "a floating-point number");
  return *d;
}

std::optional<bool> GgufFile::get_bool(const std::string& key) const {
  const GgufValue* v = find(key);
  if (v == nullptr) return std::nullopt;
  const auto* b = std::get_if<bool>(&v->value);
  if (b == nullptr) fail_type(*this, key, "a boolean");
  return *b;
}

std::optional<std::string> GgufFile::get_string(const std::string& key) const {
  const GgufValue* v = find(key);
  if (v == nullptr) return std::nullopt;
  const auto* s = std::get_if<std::string>(&v->value);
  if (s == nullptr) fail_type(*this, key, "a string");
  return *s;
}

std::vector<std::string> GgufFile::get_strings(const std::string& key) const {
  return array_of<std::string>(*this, key, "an array of strings");
}

std::vector<double> GgufFile::get_reals(const std::string& key) const {
  return array_of<double>(*this, key, "an array of floats");
}

std::vector<int64_t> GgufFile::get_ints(const std::string& key) const {
  const GgufValue* v = find(key);
  if (v == nullptr) return {};
  const auto* array = std::get_if<std::vector<GgufValue>>(&v->value);
  if (array == nullptr) fail_type(*this, key, "an array of integers");
  std::vector<int64_t> numbers;
  numbers.reserve(array->size());
  for (const GgufValue& item : *array) {
    if (const auto* i = std::get_if<int64_t>(&item.value)) {
      numbers.push_back(*i);
    } else if (const auto* u = std::get_if<uint64_t>(&item.value);
               u != nullptr && *u <= INT64_MAX) {
      numbers.push_back(static_cast<int64_t>(*u));
    } else {
      fail_type(*this, key, "an array of integers");
    }
  }
  return numbers;
}

uint64_t GgufFile::require_uint(const std::string& key) const {
  const auto value = get_uint(key);
  if (!value) fail_absent(*this, key);
  return *value;
}

double GgufFile::require_float(const std::string& key) const {
  const auto value = get_float(key);
  if (!value) fail_absent(*this, key);
  return *value;
}

std::string GgufFile::require_string(const std::string& key) const {
  const auto value = get_string(key);
  if (!value) fail_absent(*this, key);
  return *value;
}

}  // namespace hone::formats
