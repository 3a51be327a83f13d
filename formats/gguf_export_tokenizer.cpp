#include "formats/gguf_export_tokenizer.h"

#include <algorithm>
#include <map>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/text.h"
#include "formats/gguf_pre_tokenizer.h"
#include "formats/gguf_sentencepiece.h"
#include "formats/gguf_token_type.h"
#include "formats/model_folder.h"

namespace hone::formats {
namespace fs = std::filesystem;
namespace {

using core::ErrorKind;
using core::fail;
using core::Json;
// Sorted keys: looked up in logarithmic time, which the hundred thousand of a vocabulary need.
using Tree = nlohmann::json;

[[noreturn]] void refuse(const std::string& where, std::string what, std::string got = "",
                         std::string expected = "") {
  fail(ErrorKind::kBadInput, {.what = std::move(what),
                              .where = where,
                              .got = std::move(got),
                              .expected = std::move(expected),
                              .hint = "a GGUF file can't say this, so the model would read text "
                                      "in another way: keep it in Hugging Face layout"});
}

// tokenizer.json, whose parts were all checked to be expressible.
struct Tokenizer {
  std::string path;
  Tree json;
  std::vector<std::string> tokens;  // by id; "[PAD<id>]" where the file has none
  std::vector<int32_t> types;
  std::map<std::string, int64_t> added;  // id by content
  const PreTokenizer* pre = nullptr;     // of a byte-level one
  std::optional<SpaceRule> spaces;       // of a SentencePiece's

  std::optional<int64_t> id_of(const std::string& token) const {
    if (const auto found = added.find(token); found != added.end()) return found->second;
    const auto& vocab = json.at("model").at("vocab");
    const auto found = vocab.find(token);
    if (found == vocab.end()) return std::nullopt;
    return found->get<int64_t>();
  }
};

template <typename Object>
bool is_null(const Object& object, const char* key) {
  return !object.contains(key) || object.at(key).is_null();
}

void check_normalizer(const Tokenizer& t, std::vector<std::string>& notes) {
  if (is_null(t.json, "normalizer")) return;
  const Tree& normalizer = t.json.at("normalizer");
  const std::string type = normalizer.value("type", "");
  if (type != "NFC") refuse(t.path, "normalizer is not supported by GGUF", "\"" + type + "\"");
  notes.push_back(
      "the tokenizer composes characters (NFC) first, llama.cpp does not: only text with combining "
      "marks is read differently");
}

void read_pre_tokenizer(Tokenizer& t) {
  const Json pre = t.json.value("pre_tokenizer", Tree());
  t.pre = match_pre_tokenizer(pre, t.json.at("model").value("ignore_merges", false));
  if (t.pre == nullptr) {
    refuse(t.path, "llama.cpp knows no pre-tokenizer like this one", pre.dump().substr(0, 300),
           "the one of " + known_pre_tokenizers());
  }
}

void read_space_rule(Tokenizer& t, std::vector<std::string>& notes) {
  const Json normalizer = t.json.value("normalizer", Tree());
  const Json pre_tokenizer = t.json.value("pre_tokenizer", Tree());
  t.spaces = match_space_rule(normalizer, pre_tokenizer);
  if (!t.spaces) {
    refuse(t.path, "spaces are not treated as SentencePiece does",
           core::excerpt(normalizer.dump() + " " + pre_tokenizer.dump(), 300));
  }
  if (!t.spaces->is_exact) {
    notes.push_back(
        "the tokenizer puts a space before the first word only, llama.cpp also before a text that "
        "begins with one, and after special tokens");
  }
}

void check_model(const Tokenizer& t) {
  const Tree model = t.json.value("model", Tree::object());
  const std::string type = model.value("type", "BPE");
  if (type != "BPE") {
    refuse(t.path, "tokenizer model is not supported", "\"" + type + "\"", "BPE");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (is_null(model, key)) continue;
    const auto& affix = model.at(key);
    if (!affix.is_string() || !affix.get_ref<const std::string&>().empty()) {
      refuse(t.path, std::string("model.") + key + " is not supported", affix.dump());
    }
  }
  if (!model.contains("vocab") || !model.at("vocab").is_object()) {
    refuse(t.path, "model.vocab is missing or no object");
  }
}

void place(Tokenizer& t, int64_t vocab_size, const std::string& token, const Tree& id,
           int32_t type) {
  if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocab_size) {
    refuse(t.path, "a token's id is no row of the embedding", token + ": " + id.dump(),
           "0 to " + std::to_string(vocab_size - 1));
  }
  const auto index = static_cast<size_t>(id.get<int64_t>());
  t.tokens[index] = token;
  t.types[index] = type;
}

void read_vocabulary(Tokenizer& t, int64_t vocab_size) {
  for (int64_t i = 0; i < vocab_size; ++i) t.tokens.push_back("[PAD" + std::to_string(i) + "]");
  t.types.assign(t.tokens.size(), TokenType::kUnused);
  for (const auto& [token, id] : t.json.at("model").at("vocab").items()) {
    place(t, vocab_size, token, id, TokenType::kNormal);
  }
  for (const Tree& token : t.json.value("added_tokens", Tree::array())) {
    const std::string content = token.value("content", "");
    for (const char* flag : {"single_word", "lstrip", "rstrip"}) {
      if (token.value(flag, false)) {
        refuse(t.path, std::string("an added token has ") + flag, Tree(content).dump(), "false");
      }
    }
    place(t, vocab_size, content, token.value("id", Tree()),
          token.value("special", false) ? TokenType::kControl : TokenType::kUserDefined);
    t.added[content] = token.at("id");
  }
}

using Merges = std::vector<std::pair<std::string, std::string>>;

Merges read_merges(const Tokenizer& t) {
  Merges merges;
  for (const Tree& merge : t.json.at("model").value("merges", Tree::array())) {
    const std::string text = merge.is_string() ? merge.get<std::string>() : "";
    if (const size_t space = text.find(' ', 1); space != std::string::npos) {
      merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    } else if (merge.is_array() && merge.size() == 2) {
      merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      refuse(t.path, "a merge is not two tokens", merge.dump());
    }
  }
  return merges;
}

void add_byte_level(const Tokenizer& t, GgufKeys& keys) {
  keys.add_text("tokenizer.ggml.model", "gpt2");
  keys.add_text("tokenizer.ggml.pre", t.pre->name);
  keys.add_texts("tokenizer.ggml.tokens", t.tokens);
  keys.add_integers("tokenizer.ggml.token_type", t.types);
  std::vector<std::string> merges;
  for (const auto& [left, right] : read_merges(t)) merges.push_back(core::join({left, right}, " "));
  keys.add_texts("tokenizer.ggml.merges", merges);
}

// Bytes and the unknown token are told by their types, the order of merges by scores.
void add_sentencepiece(const Tokenizer& t, GgufKeys& keys) {
  std::vector<int32_t> types = t.types;
  for (int byte = 0; byte < 256; ++byte) {
    const auto id = t.id_of(byte_token(byte));
    if (!id) refuse(t.path, "byte_fallback without a token for each byte", byte_token(byte));
    types[static_cast<size_t>(*id)] = TokenType::kByte;
  }
  const std::string unknown = t.json.at("model").value("unk_token", Tree()).is_string()
                                  ? t.json.at("model").at("unk_token").get<std::string>()
                                  : "";
  if (const auto id = t.id_of(unknown)) types[static_cast<size_t>(*id)] = TokenType::kUnknown;
  std::vector<std::string> pieces;
  for (size_t i = 0; i < types.size(); ++i)
    if (types[i] == TokenType::kNormal) pieces.push_back(t.tokens[i]);
  // Special tokens are cut out of the text before: merges with one never happen.
  const auto is_special = [&](const std::string& token) {
    const auto id = t.id_of(token);
    return id && types[static_cast<size_t>(*id)] != TokenType::kNormal;
  };
  Merges merges = read_merges(t);
  std::erase_if(merges, [&](const auto& merge) {
    return is_special(merge.first) || is_special(merge.second) ||
           is_special(merge.first + merge.second);
  });
  const ScoresOfMerges found = scores_of_merges(pieces, merges);
  if (!found.problem.empty()) refuse(t.path, "the merges are no SentencePiece's", found.problem);
  std::vector<double> scores(types.size(), 0);
  for (size_t i = 0, piece = 0; i < types.size(); ++i)
    if (types[i] == TokenType::kNormal) scores[i] = found.scores[piece++];
  keys.add_text("tokenizer.ggml.model", "llama");
  keys.add_text("tokenizer.ggml.pre", "default");
  keys.add_texts("tokenizer.ggml.tokens", t.tokens);
  keys.add_reals("tokenizer.ggml.scores", scores);
  keys.add_integers("tokenizer.ggml.token_type", types);
}

// The tokens that the post-processor puts around every text; "" for none.
struct Around {
  std::string bos, eos;
};

void read_post_processor(const Tokenizer& t, const Tree& part, Around& around) {
  const std::string type = part.value("type", "");
  if (type == "ByteLevel") return;  // moves offsets only
  if (type == "Sequence") {
    for (const Tree& inner : part.value("processors", Tree::array())) {
      read_post_processor(t, inner, around);
    }
    return;
  }
  if (type != "TemplateProcessing") {
    refuse(t.path, "post-processor is not supported", "\"" + type + "\"");
  }
  bool text_seen = false;
  for (const Tree& piece : part.value("single", Tree::array())) {
    if (piece.contains("Sequence")) {
      text_seen = true;
      continue;
    }
    const std::string token = piece.at("SpecialToken").at("id");
    std::string& side = text_seen ? around.eos : around.bos;
    if (!side.empty()) refuse(t.path, "the post-processor adds two tokens at one end", token);
    side = token;
  }
}

// bos_token and its like in tokenizer_config.json: a string or an added token's object.
std::string special_token(const Json& config, const char* key) {
  if (is_null(config, key)) return "";
  const Json& token = config.at(key);
  return token.is_object() ? token.value("content", "") : token.get<std::string>();
}

void add_id(const Tokenizer& t, const std::string& key, const std::string& token, GgufKeys& keys) {
  if (token.empty()) return;
  const auto id = t.id_of(token);
  if (!id) refuse(t.path, key + " is not in the vocabulary", Json(token).dump());
  keys.add_number("tokenizer.ggml." + key, static_cast<uint64_t>(*id));
}

// eos first, then the other ids that end a generation.
std::vector<int64_t> end_ids(const fs::path& folder, const std::optional<int64_t>& eos) {
  std::vector<int64_t> ids;
  if (eos) ids.push_back(*eos);
  for (const char* name : {"generation_config.json", "config.json"}) {
    if (!fs::exists(folder / name)) continue;
    const Json config = core::read_json_file(folder / name);
    if (is_null(config, "eos_token_id")) continue;
    const Json& value = config.at("eos_token_id");
    for (const Json& id : value.is_array() ? value : Json::array({value})) {
      if (std::find(ids.begin(), ids.end(), id.get<int64_t>()) == ids.end()) ids.push_back(id);
    }
    break;
  }
  return ids;
}

void add_special_ids(const fs::path& folder, const Tokenizer& t, const Json& config, GgufKeys& keys,
                     std::vector<std::string>& notes) {
  Around around;
  if (!is_null(t.json, "post_processor")) {
    read_post_processor(t, t.json.at("post_processor"), around);
  }
  const std::string eos = around.eos.empty() ? special_token(config, "eos_token") : around.eos;
  add_id(t, "bos_token_id", around.bos.empty() ? special_token(config, "bos_token") : around.bos,
         keys);
  const std::vector<int64_t> ends = end_ids(folder, eos.empty() ? std::nullopt : t.id_of(eos));
  constexpr const char* kEndKeys[] = {"eos_token_id", "eot_token_id", "eom_token_id"};
  for (size_t i = 0; i < std::min(ends.size(), std::size(kEndKeys)); ++i) {
    keys.add_number(std::string("tokenizer.ggml.") + kEndKeys[i], static_cast<uint64_t>(ends[i]));
  }
  if (ends.size() > std::size(kEndKeys)) {
    notes.push_back("a GGUF file names three tokens that end a generation, the model has " +
                    std::to_string(ends.size()));
  }
  add_id(t, "unknown_token_id", special_token(config, "unk_token"), keys);
  add_id(t, "padding_token_id", special_token(config, "pad_token"), keys);
  keys.add_flag("tokenizer.ggml.add_bos_token", !around.bos.empty());
  keys.add_flag("tokenizer.ggml.add_eos_token", !around.eos.empty());
  keys.add_flag("tokenizer.ggml.add_space_prefix", t.spaces && t.spaces->add_space_prefix);
}

// By name; the default one is "".
std::map<std::string, std::string> read_chat_templates(const fs::path& folder, const Json& config) {
  std::map<std::string, std::string> templates;
  if (!is_null(config, "chat_template")) {
    const Json& value = config.at("chat_template");
    if (value.is_string()) templates[""] = value;
    for (const Json& named : value.is_array() ? value : Json::array()) {
      const std::string name = named.value("name", "");
      templates[name == "default" ? "" : name] = named.value("template", "");
    }
  }
  if (fs::exists(folder / "chat_template.jinja")) {
    templates[""] = core::read_file(folder / "chat_template.jinja");
  }
  const fs::path more = folder / kTemplatesFolder;
  if (fs::is_directory(more)) {
    for (const auto& entry : fs::directory_iterator(more)) {
      if (entry.path().extension() != ".jinja") continue;
      templates[entry.path().stem().string()] = core::read_file(entry.path());
    }
  }
  return templates;
}

void add_chat_templates(const std::map<std::string, std::string>& templates, GgufKeys& keys) {
  std::vector<std::string> names;
  for (const auto& [name, text] : templates) {
    if (name.empty()) continue;
    names.push_back(name);
    keys.add_text("tokenizer.chat_template." + name, text);
  }
  if (!names.empty()) keys.add_texts("tokenizer.chat_templates", names);
  if (const auto found = templates.find(""); found != templates.end()) {
    keys.add_text("tokenizer.chat_template", found->second);
  }
}

Tokenizer read_tokenizer(const fs::path& folder, int64_t vocab_size,
                         std::vector<std::string>& notes) {
  Tokenizer t{.path = (folder / "tokenizer.json").string(),
              .json = {},
              .tokens = {},
              .types = {},
              .added = {}};
  t.json = Tree::parse(core::read_file(folder / "tokenizer.json", uint64_t{1} << 28));
  if (!t.json.is_object()) {
    fail(ErrorKind::kBadInput, {.what = "not a JSON object", .where = t.path});
  }
  check_model(t);
  if (t.json.at("model").value("byte_fallback", false)) {
    read_space_rule(t, notes);
  } else {
    check_normalizer(t, notes);
    read_pre_tokenizer(t);
  }
  read_vocabulary(t, vocab_size);
  return t;
}

}  // namespace

void add_gguf_tokenizer(const fs::path& folder, int64_t vocab_size, GgufKeys& keys,
                        std::vector<std::string>& notes) try {
  const Tokenizer t = read_tokenizer(folder, vocab_size, notes);
  const Json config = fs::exists(folder / "tokenizer_config.json")
                          ? core::read_json_file(folder / "tokenizer_config.json")
                          : Json::object();
  t.spaces ? add_sentencepiece(t, keys) : add_byte_level(t, keys);
  add_special_ids(folder, t, config, keys, notes);
  add_chat_templates(read_chat_templates(folder, config), keys);
} catch (const nlohmann::detail::exception& error) {
  fail(ErrorKind::kBadInput, {.what = "the tokenizer files are not as they should be",
                              .where = folder.string(),
                              .got = error.what()});
}

}  // namespace hone::formats
