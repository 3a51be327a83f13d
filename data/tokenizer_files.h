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

struct ChatTemplate {
  std::string text;
  std::string path;  // where it was found, for messages
};

struct TokenizerFiles {
  std::filesystem::path folder;
  std::string tokenizer_json;
  std::vector<SpecialToken> special_tokens;
  std::optional<ChatTemplate> chat_template;
  std::optional<ChatTemplate> tool_template;  // the one named "tool_use", for rows with tools
  const std::string* special_token(std::string_view name) const;
};

// Throws kMissingInput without a tokenizer.json, kBadInput for a broken tokenizer_config.json. The
// templates are looked for in chat_template.jinja and additional_chat_templates/, then in
// tokenizer_config.json (a text, or a list of named ones, of which "default" and "tool_use" are
// taken): as transformers does.
TokenizerFiles read_tokenizer_files(const std::filesystem::path& folder);

}  // namespace hone::data
