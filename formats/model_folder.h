// The files of a model folder beside its weights, as the Hugging Face tools name them.
#pragma once

#include <array>

namespace hone::formats {

inline constexpr std::array kConfigFiles{"config.json", "generation_config.json"};
inline constexpr const char* kTokenizerFile = "tokenizer.json";
// What may stand beside kTokenizerFile, in the dialects of transformers 4 and 5.
inline constexpr std::array kTokenizerSideFiles{"tokenizer_config.json",
                                                "special_tokens_map.json",
                                                "added_tokens.json",
                                                "vocab.json",
                                                "merges.txt",
                                                "tokenizer.model",
                                                "chat_template.jinja",
                                                "chat_template.json"};
// Named chat templates, NAME.jinja each.
inline constexpr const char* kTemplatesFolder = "additional_chat_templates";

}  // namespace hone::formats
