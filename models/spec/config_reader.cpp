#include "models/spec/config_reader.h"

#include "core/error.h"
#include "core/text.h"

namespace hone::models {

ConfigReader::ConfigReader(const core::Json& object, std::string where)
    : object_(object), where_(std::move(where)) {
  if (!object_.is_object()) {
    core::fail(core::ErrorKind::kBadInput, {.what = "not a JSON object", .where = where_});
  }
}

const core::Json* ConfigReader::find(std::string_view key) const {
  const auto it = object_.find(std::string(key));
  return it == object_.end() ? nullptr : &*it;
}

bool ConfigReader::is_null_or_absent(std::string_view key) const {
  const core::Json* value = find(key);
  return value == nullptr || value->is_null();
}

int64_t ConfigReader::positive_integer(std::string_view key, int64_t fallback) {
  if (is_null_or_absent(key)) return fallback;
  const core::Json& value = *find(key);
  constexpr int64_t kMax = int64_t{1} << 40;
  if (!value.is_number_integer() || value.get<int64_t>() <= 0 || value.get<int64_t>() > kMax) {
    problem(std::string(key) + ": got " + value.dump() + ", expected a positive integer");
    return fallback;
  }
  return value.get<int64_t>();
}

double ConfigReader::positive_number(std::string_view key, double fallback) {
  if (is_null_or_absent(key)) return fallback;
  const core::Json& value = *find(key);
  if (!value.is_number() || !(value.get<double>() > 0)) {
    problem(std::string(key) + ": got " + value.dump() + ", expected a positive number");
    return fallback;
  }
  return value.get<double>();
}

bool ConfigReader::boolean(std::string_view key, bool fallback) {
  if (is_null_or_absent(key)) return fallback;
  const core::Json& value = *find(key);
  if (!value.is_boolean()) {
    problem(std::string(key) + ": got " + value.dump() + ", expected true or false");
    return fallback;
  }
  return value.get<bool>();
}

std::string ConfigReader::text(std::string_view key, const std::string& fallback) {
  if (is_null_or_absent(key)) return fallback;
  const core::Json& value = *find(key);
  if (!value.is_string()) {
    problem(std::string(key) + ": got " + value.dump() + ", expected a string");
    return fallback;
  }
  return value.get<std::string>();
}

std::vector<int64_t> ConfigReader::integers(std::string_view key, std::vector<int64_t> fallback) {
  if (is_null_or_absent(key)) return fallback;
  const core::Json& value = *find(key);
  if (value.is_number_integer()) return {value.get<int64_t>()};
  std::vector<int64_t> result;
  bool good = value.is_array();
  for (const core::Json& item : value) {
    good = good && item.is_number_integer();
    if (good) result.push_back(item.get<int64_t>());
  }
  if (!good) {
    problem(std::string(key) + ": got " + core::excerpt(value.dump()) +
            ", expected an integer or a list of integers");
    return fallback;
  }
  return result;
}

std::vector<std::string> ConfigReader::texts(std::string_view key) {
  if (is_null_or_absent(key)) return {};
  const core::Json& value = *find(key);
  std::vector<std::string> result;
  bool good = value.is_array();
  for (const core::Json& item : value) {
    good = good && item.is_string();
    if (good) result.push_back(item.get<std::string>());
  }
  if (!good) {
    problem(std::string(key) + ": got " + core::excerpt(value.dump()) +
            ", expected a list of strings");
  }
  return good ? result : std::vector<std::string>{};
}

void ConfigReader::problem(std::string message) { problems_.push_back(std::move(message)); }

void ConfigReader::absorb(const ConfigReader& nested) {
  for (const std::string& message : nested.problems_) {
    problems_.push_back(nested.where_ + "." + message);
  }
}

void ConfigReader::finish() const {
  if (problems_.empty()) return;
  core::fail(core::ErrorKind::kBadInput, {.what = core::join(problems_, "; "), .where = where_});
}

}  // namespace hone::models
