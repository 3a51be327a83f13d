// Typed access to a config.json that remembers every problem instead of stopping at the first.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"

namespace hone::models {

class ConfigReader {
 public:
  ConfigReader(const core::Json& object, std::string where);

  // The value, or nullptr where the key is absent; a JSON null is a value.
  const core::Json* find(std::string_view key) const;
  bool is_null_or_absent(std::string_view key) const;

  // `fallback` where the key is absent or null; a value of the wrong type or out of range is a
  // problem.
  int64_t positive_integer(std::string_view key, int64_t fallback);
  double positive_number(std::string_view key, double fallback);
  bool boolean(std::string_view key, bool fallback);
  std::string text(std::string_view key, const std::string& fallback);
  // One integer or a list of integers.
  std::vector<int64_t> integers(std::string_view key, std::vector<int64_t> fallback);
  std::vector<std::string> texts(std::string_view key);

  void problem(std::string message);
  // Takes over the problems of a reader of a nested object.
  void absorb(const ConfigReader& nested);
  const std::vector<std::string>& problems() const { return problems_; }
  // Throws kBadInput with every problem in one message, if there are any.
  void finish() const;

 private:
  const core::Json& object_;
  std::string where_;
  std::vector<std::string> problems_;
};

}  // namespace hone::models
