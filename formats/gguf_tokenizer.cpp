#include "formats/gguf_tokenizer.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <unordered_map>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "formats/gguf_config.h"
#include "formats/gguf_pre_tokenizer.h"
#include "formats/gguf_sentencepiece.h"
#include "formats/gguf_token_type.h"
#include "formats/model_folder.h"

namespace hone::formats {
namespace {

using core::ErrorKind;
using core::fail;
using core::Json;

[[noreturn]] void bad(const GgufFile& file, std::string what, std::string got = "",
                      std::string expected = "") {
  fail(ErrorKind::kBadInput, {.what = std::move(what),
                              .where = file.path(),
                              .got = std::move(got),
                              .expected = std::move(expected)});
}

bool is_sentencepiece(const GgufFile& file) {
  const std::string model = file.require_string("tokenizer.ggml.model");
  if (model != "gpt2" && model != "llama") {
    bad(file, "tokenizer is not supported", "\"" + model + "\"",
        "\"gpt2\" (byte-level BPE) or \"llama\" (SentencePiece BPE)");
  }
  return model == "llama";
}

const PreTokenizer& pre_tokenizer_of(const GgufFile& file) {
  const std::string name = file.require_string("tokenizer.ggml.pre");
  const PreTokenizer* pre = find_pre_tokenizer(name);
  if (pre == nullptr) {
    bad(file, "pre-tokenizer is not supported", "\"" + name + "\"", known_pre_tokenizers());
  }
  return *pre;
}

// The vocabulary and what is special in it.
struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<int64_t> types;
  std::unordered_map<std::string, size_t> ids;
  std::map<std::string, uint64_t> default_ids;  // of special tokens, where the file says nothing

  // The token that metadata `key` names; nullptr without the key.
  const std::string* special(const GgufFile& file, const std::string& key) const {
    std::optional<uint64_t> id = file.get_uint("tokenizer.ggml." + key);
    if (const auto found = default_ids.find(key); !id && found != default_ids.end())
      id = found->second;
    if (!id) return nullptr;
    return &token(file, key, *id);
  }
  const std::string& token(const GgufFile& file, const std::string& key, uint64_t id) const {
    if (id >= tokens.size()) {
      bad(file, "metadata \"tokenizer.ggml." + key + "\" is outside the vocabulary",
          std::to_string(id), "below " + std::to_string(tokens.size()));
    }
    return tokens[id];
  }
};

Vocabulary read_vocabulary(const GgufFile& file, int64_t vocab_size) {
  Vocabulary v;
  v.tokens = file.get_strings("tokenizer.ggml.tokens");
  v.types = file.get_ints("tokenizer.ggml.token_type");
  if (v.tokens.empty()) bad(file, "metadata \"tokenizer.ggml.tokens\" is missing or empty");
  if (v.tokens.size() > static_cast<size_t>(vocab_size)) {
    bad(file, "there are more tokens than rows of token_embd.weight",
        std::to_string(v.tokens.size()), "at most " + std::to_string(vocab_size));
  }
  if (v.types.empty()) v.types.assign(v.tokens.size(), TokenType::kNormal);
  if (v.types.size() != v.tokens.size()) {
    bad(file, "metadata \"tokenizer.ggml.token_type\" has another length than the tokens",
        std::to_string(v.types.size()), std::to_string(v.tokens.size()));
  }
  // Rows of the embedding without a token, which converters name so.
  while (v.tokens.size() > 1 && v.types.back() == TokenType::kUnused &&
         v.tokens.back() == "[PAD" + std::to_string(v.tokens.size() - 1) + "]") {
    v.tokens.pop_back();
    v.types.pop_back();
  }
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    if (!v.ids.emplace(v.tokens[i], i).second) {
      bad(file, "token " + std::to_string(i) + " is in the vocabulary twice",
          Json(v.tokens[i]).dump());
    }
  }
  if (is_sentencepiece(file)) {
    v.default_ids = {{"unknown_token_id", 0}, {"bos_token_id", 1}, {"eos_token_id", 2}};
    std::replace(v.types.begin(), v.types.end(), int64_t{TokenType::kUnknown},
                 int64_t{TokenType::kControl});
  }
  for (const char* key : {"bos_token_id", "eos_token_id", "eot_token_id"}) {
    if (const std::string* token = v.special(file, key))
      v.types[v.ids.at(*token)] = TokenType::kControl;
  }
  return v;
}

Json added_tokens_json(const Vocabulary& v) {
  Json added = Json::array();
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    if (v.types[i] != TokenType::kControl && v.types[i] != TokenType::kUserDefined) continue;
    Json token;
    token["id"] = i;
    token["content"] = v.tokens[i];
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) token[flag] = false;
    token["special"] = v.types[i] == TokenType::kControl;
    added.push_back(token);
  }
  return added;
}

// [["a", "b"], ...]; every merge must join two tokens into a third.
Json merges_json(const GgufFile& file, const Vocabulary& v) {
  Json merges = Json::array();
  for (const std::string& merge : file.get_strings("tokenizer.ggml.merges")) {
    const size_t space = merge.find(' ', 1);
    if (space == std::string::npos || space + 1 == merge.size()) {
      bad(file, "merge " + std::to_string(merges.size()) + " is not two tokens",
          Json(merge).dump());
    }
    const std::string left = merge.substr(0, space), right = merge.substr(space + 1);
    for (const std::string& token : {left, right, left + right}) {
      if (!v.ids.contains(token)) {
        bad(file,
            "merge " + std::to_string(merges.size()) + " needs a token that the vocabulary lacks",
            Json(token).dump());
      }
    }
    merges.push_back(Json::array({left, right}));
  }
  return merges;
}

Json merges_of_scores_json(const GgufFile& file, const Vocabulary& v) {
  const std::vector<double> scores = file.get_reals("tokenizer.ggml.scores");
  if (scores.size() < v.tokens.size()) {
    bad(file, "metadata \"tokenizer.ggml.scores\" is missing or shorter than the tokens",
        std::to_string(scores.size()), std::to_string(v.tokens.size()));
  }
  std::vector<ScoredToken> pieces;
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    if (!std::isfinite(scores[i])) bad(file, "the score of a token is not finite", v.tokens[i]);
    if (v.types[i] == TokenType::kNormal) pieces.push_back({v.tokens[i], scores[i]});
  }
  Json merges = Json::array();
  for (const auto& [left, right] : merges_of_scores(pieces))
    merges.push_back(Json::array({left, right}));
  return merges;
}

// What tells one kind of vocabulary from another in a tokenizer.json.
struct TokenizerParts {
  Json normalizer, pre_tokenizer, decoder, merges, unk_token;
  bool byte_fallback = false, ignore_merges = false, add_bos = false;
};

TokenizerParts byte_level_parts(const GgufFile& file, const Vocabulary& v) {
  const PreTokenizer& pre = pre_tokenizer_of(file);
  const bool add_prefix_space = file.get_bool("tokenizer.ggml.add_space_prefix").value_or(false);
  return {.pre_tokenizer = pre_tokenizer_json(pre, add_prefix_space),
          .decoder = byte_level_json(true, true),
          .merges = merges_json(file, v),
          .ignore_merges = pre.ignore_merges,
          .add_bos = pre.add_bos};
}

TokenizerParts sentencepiece_parts(const GgufFile& file, const Vocabulary& v) {
  const bool prefix = file.get_bool("tokenizer.ggml.add_space_prefix").value_or(true);
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = v.ids.find(byte_token(byte));
    if (found == v.ids.end() || v.types[found->second] != TokenType::kByte)
      bad(file, "the vocabulary has no token for a byte", byte_token(byte));
  }
  return {.normalizer = sentencepiece_normalizer_json(prefix),
          .decoder = sentencepiece_decoder_json(prefix),
          .merges = merges_of_scores_json(file, v),
          .unk_token = *v.special(file, "unknown_token_id"),
          .byte_fallback = true,
          .add_bos = true};
}

// bos before and eos after every text, where the file asks for it.
Json post_processor_json(const GgufFile& file, const Vocabulary& v, bool adds_bos) {
  const bool add_bos = file.get_bool("tokenizer.ggml.add_bos_token").value_or(adds_bos);
  const bool add_eos = file.get_bool("tokenizer.ggml.add_eos_token").value_or(false);
  const std::string* bos = add_bos ? v.special(file, "bos_token_id") : nullptr;
  const std::string* eos = add_eos ? v.special(file, "eos_token_id") : nullptr;
  if (bos == nullptr && eos == nullptr) return nullptr;
  Json single = Json::array(), pair = Json::array(), specials = Json::object();
  const auto add_special = [&](Json& list, const std::string* token, int sequence) {
    if (token == nullptr) return;
    list.push_back({{"SpecialToken", {{"id", *token}, {"type_id", sequence}}}});
    specials[*token] = {{"id", *token},
                        {"ids", Json::array({v.ids.at(*token)})},
                        {"tokens", Json::array({*token})}};
  };
  const auto add_sequence = [&](Json& list, const char* name, int sequence) {
    add_special(list, bos, sequence);
    list.push_back({{"Sequence", {{"id", name}, {"type_id", sequence}}}});
    add_special(list, eos, sequence);
  };
  add_sequence(single, "A", 0);
  add_sequence(pair, "A", 0);
  add_sequence(pair, "B", 1);
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", specials}};
}

// The vocabulary is written by hand: an ordered JSON object looks keys up one by one.
std::string tokenizer_json(const GgufFile& file, const Vocabulary& v) {
  const TokenizerParts parts =
      is_sentencepiece(file) ? sentencepiece_parts(file, v) : byte_level_parts(file, v);
  const auto flag = [](bool value) { return value ? "true" : "false"; };
  std::string vocab;
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    vocab +=
        (i > 0 ? ",\n      " : "\n      ") + Json(v.tokens[i]).dump() + ": " + std::to_string(i);
  }
  std::string merges;
  for (const Json& merge : parts.merges) {
    merges += (merges.empty() ? "\n      " : ",\n      ") + merge.dump();
  }
  return "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  "
         "\"added_tokens\": " +
         added_tokens_json(v).dump() + ",\n  \"normalizer\": " + parts.normalizer.dump() +
         ",\n  \"pre_tokenizer\": " + parts.pre_tokenizer.dump() +
         ",\n  \"post_processor\": " + post_processor_json(file, v, parts.add_bos).dump() +
         ",\n  \"decoder\": " + parts.decoder.dump() +
         ",\n  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": " +
         parts.unk_token.dump() +
         ",\n    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n"
         "    \"fuse_unk\": " +
         flag(parts.byte_fallback) + ",\n    \"byte_fallback\": " + flag(parts.byte_fallback) +
         ",\n    \"ignore_merges\": " + flag(parts.ignore_merges) + ",\n    \"vocab\": {" + vocab +
         "\n    },\n    \"merges\": [" + merges + "\n    ]\n  }\n}\n";
}

Json tokenizer_config_json(const GgufFile& file, const Vocabulary& v) {
  Json config;
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  if (!is_sentencepiece(file)) {
    config["add_prefix_space"] = file.get_bool("tokenizer.ggml.add_space_prefix").value_or(false);
  }
  config["clean_up_tokenization_spaces"] = false;
  config["model_max_length"] =
      file.require_uint(file.require_string("general.architecture") + ".context_length");
  if (const auto* token = v.special(file, "bos_token_id")) config["bos_token"] = *token;
  if (const auto* token = v.special(file, "eos_token_id")) config["eos_token"] = *token;
  if (const auto* token = v.special(file, "unknown_token_id")) config["unk_token"] = *token;
  if (const int64_t pad = gguf_pad_id(file); pad >= 0) {
    config["pad_token"] = v.token(file, "padding_token_id", static_cast<uint64_t>(pad));
  }
  return config;
}

}  // namespace

std::map<std::string, std::string> gguf_tokenizer_files(const GgufFile& file, int64_t vocab_size) {
  const Vocabulary v = read_vocabulary(file, vocab_size);
  std::map<std::string, std::string> files;
  files["tokenizer.json"] = tokenizer_json(file, v);
  files["tokenizer_config.json"] = core::dump_json(tokenizer_config_json(file, v));
  if (const auto text = file.get_string("tokenizer.chat_template"))
    files["chat_template.jinja"] = *text;
  const std::string prefix = "tokenizer.chat_template.";
  for (const auto& [key, value] : file.metadata()) {
    const auto* text = std::get_if<std::string>(&value.value);
    if (!key.starts_with(prefix) || text == nullptr) continue;
    const std::string name =
        std::string(kTemplatesFolder) + "/" + key.substr(prefix.size()) + ".jinja";
    if (!core::is_safe_relative_path(name)) bad(file, "a chat template has an unsafe name", key);
    files[name] = *text;
  }
  return files;
}

}  // namespace hone::formats
