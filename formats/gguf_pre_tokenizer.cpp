#include "formats/gguf_pre_tokenizer.h"

#include <array>
#include <optional>

namespace hone::formats {
namespace {

using core::Json;

constexpr char kLlama3Regex[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr char kQwen2Regex[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

constexpr std::array<PreTokenizer, 4> kPreTokenizers{{
    {"smollm", true, nullptr, false, false},
    {"gpt-2", false, nullptr, false, false},
    {"qwen2", false, kQwen2Regex, false, false},
    {"llama-bpe", false, kLlama3Regex, true, true},
}};

// What the parts of a pre_tokenizer come to; nullopt for a part that none of the known ones has.
struct Parts {
  bool single_digits = false, byte_level = false, byte_level_regex = false;
  std::optional<std::string> regex;
};

bool add_part(const Json& part, Parts& parts) {
  const std::string type = part.value("type", "");
  if (parts.byte_level) return false;  // nothing may follow it
  if (type == "Sequence") {
    for (const Json& inner : part.value("pretokenizers", Json::array())) {
      if (!add_part(inner, parts)) return false;
    }
    return true;
  }
  if (type == "Digits") {
    parts.single_digits = true;
    return part.value("individual_digits", false) && !parts.regex;
  }
  if (type == "Split") {
    const bool good = !parts.regex && part.value("behavior", "") == "Isolated" &&
                      !part.value("invert", false) && part.contains("pattern") &&
                      part["pattern"].contains("Regex");
    if (good) parts.regex = part["pattern"]["Regex"].get<std::string>();
    return good;
  }
  if (type != "ByteLevel") return false;
  parts.byte_level = true;
  parts.byte_level_regex = part.value("use_regex", true);
  return !part.value("add_prefix_space", true);  // llama.cpp adds none
}

}  // namespace

const PreTokenizer* find_pre_tokenizer(const std::string& name) {
  for (const PreTokenizer& pre : kPreTokenizers) {
    if (name == pre.name) return &pre;
  }
  return nullptr;
}

std::string known_pre_tokenizers() {
  std::string text;
  for (const PreTokenizer& pre : kPreTokenizers) {
    text += (text.empty() ? "" : ", ") + std::string(pre.name);
  }
  return text;
}

Json byte_level_json(bool add_prefix_space, bool use_regex) {
  Json j;
  j["type"] = "ByteLevel";
  j["add_prefix_space"] = add_prefix_space;
  j["trim_offsets"] = true;
  j["use_regex"] = use_regex;
  return j;
}

Json pre_tokenizer_json(const PreTokenizer& pre, bool add_prefix_space) {
  Json parts = Json::array();
  if (pre.single_digits) parts.push_back({{"type", "Digits"}, {"individual_digits", true}});
  if (pre.regex != nullptr) {
    Json split;
    split["type"] = "Split";
    split["pattern"]["Regex"] = pre.regex;
    split["behavior"] = "Isolated";
    split["invert"] = false;
    parts.push_back(split);
  }
  parts.push_back(byte_level_json(add_prefix_space, pre.regex == nullptr));
  if (parts.size() == 1) return parts[0];
  Json sequence;
  sequence["type"] = "Sequence";
  sequence["pretokenizers"] = parts;
  return sequence;
}

const PreTokenizer* match_pre_tokenizer(const Json& pre_tokenizer, bool ignore_merges) {
  Parts parts;
  if (!pre_tokenizer.is_object() || !add_part(pre_tokenizer, parts) || !parts.byte_level) {
    return nullptr;
  }
  for (const PreTokenizer& pre : kPreTokenizers) {
    const bool same_regex = pre.regex == nullptr
                                ? !parts.regex && parts.byte_level_regex
                                : parts.regex == pre.regex && !parts.byte_level_regex;
    if (same_regex && pre.single_digits == parts.single_digits &&
        pre.ignore_merges == ignore_merges) {
      return &pre;
    }
  }
  return nullptr;
}

}  // namespace hone::formats
