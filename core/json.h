// JSON that keeps key order, so files we read and write back keep theirs.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace hone::core {

using Json = nlohmann::ordered_json;

struct JsonLimits {
  int max_depth = 64;
  uint64_t max_bytes = uint64_t{1} << 28;
};

// Parses `text`; throws kBadInput with `where` and the byte offset on bad JSON, duplicate keys, or
// depth over the limit.
Json parse_json(std::string_view text, const std::string& where, JsonLimits limits = {});
Json read_json_file(const std::filesystem::path& path, JsonLimits limits = {});
// Two-space indent and a final newline, non-ASCII kept, as the Hugging Face tools write.
std::string dump_json(const Json& value);

}  // namespace hone::core
