// What a model folder says about its tokenizer, in the dialects of transformers 4 and 5.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace hone::data {

struct SpecialToken {
  std::string name;  // "bos_token", "eos_token", ...: also the template's variable
  std::string text;
};

struct TokenizerFiles {
  std::filesystem::path folder;
  std::string tokenizer_json;
  std::vector<SpecialToken> special_tokens;
  std::optional<std::string> chat_template;
  std::string template_path;  // where it was found, for messages
  const std::string* special_token(std::string_view name) const;
};

// Throws kMissingInput without a tokenizer.json, kBadInput for a broken tokenizer_config.json. The
// template is looked for in chat_template.jinja, then tokenizer_config.json (a text, or a list of
// named ones, of which "default" is taken).
TokenizerFiles read_tokenizer_files(const std::filesystem::path& folder);

}  // namespace hone::data
