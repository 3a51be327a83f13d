// The splits before byte-level BPE that llama.cpp knows by name (tokenizer.ggml.pre), and how
// tokenizer.json says the same.
#pragma once

#include <string>

#include "core/json.h"

namespace hone::formats {

struct PreTokenizer {
  const char* name;    // "llama-bpe"
  bool single_digits;  // every digit is a piece of its own, before all else
  const char* regex;   // nullptr: the one built into ByteLevel, GPT-2's
  bool ignore_merges;  // a piece that is a token as it stands is not split
  bool add_bos;        // when the file does not say
};

// nullptr for a name that is not known.
const PreTokenizer* find_pre_tokenizer(const std::string& name);
// "smollm, gpt-2, ..."
std::string known_pre_tokenizers();

// {"type": "ByteLevel", ...}
core::Json byte_level_json(bool add_prefix_space, bool use_regex);
// The key "pre_tokenizer" of tokenizer.json.
core::Json pre_tokenizer_json(const PreTokenizer& pre, bool add_prefix_space);
// The one that the keys "pre_tokenizer" and model.ignore_merges of a tokenizer.json say. nullptr
// when llama.cpp has none that splits like this.
const PreTokenizer* match_pre_tokenizer(const core::Json& pre_tokenizer, bool ignore_merges);

}  // namespace hone::formats
