#include "data/tokenizer_files.h"

#include <array>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"

namespace hone::data {
namespace fs = std::filesystem;
using core::Json;
namespace {

constexpr uint64_t kMaxTokenizerBytes = uint64_t{1} << 28;
constexpr uint64_t kMaxTemplateBytes = uint64_t{1} << 22;
constexpr std::array kSpecialTokens = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};

// A special token is a text or an AddedToken object with "content".
std::optional<std::string> token_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string()) {
    return value["content"].get<std::string>();
  }
  return std::nullopt;
}

void add_special_tokens(const Json& config, TokenizerFiles& files) {
  for (const char* name : kSpecialTokens) {
    if (files.special_token(name) || !config.contains(name)) continue;
    if (auto text = token_text(config[name])) files.special_tokens.push_back({name, *text});
  }
}

void templates_of_config(const Json& config, const fs::path& path, TokenizerFiles& files) {
  if (!config.contains("chat_template") || config["chat_template"].is_null()) return;
  const Json& value = config["chat_template"];
  const std::string where = path.string() + " (chat_template)";
  if (value.is_string()) {
    files.chat_template = {value.get<std::string>(), where};
    return;
  }
  if (!value.is_array()) {
    core::fail(core::ErrorKind::kBadInput, {.what = "chat_template has the wrong type",
                                            .where = path.string(),
                                            .expected = "a text, or a list of {name, template}"});
  }
  for (const Json& named : value) {
    if (!named.is_object()) continue;
    const std::string name = named.value("name", "");
    if (name == "default") files.chat_template = {named.value("template", ""), where};
    if (name == "tool_use") {
      files.tool_template = {named.value("template", ""), where + " \"tool_use\""};
    }
  }
}

std::optional<ChatTemplate> template_file(const fs::path& path) {
  if (!fs::exists(path)) return std::nullopt;
  return ChatTemplate{core::read_file(path, kMaxTemplateBytes), path.string()};
}

}  // namespace

const std::string* TokenizerFiles::special_token(std::string_view name) const {
  for (const SpecialToken& token : special_tokens) {
    if (token.name == name) return &token.text;
  }
  return nullptr;
}

TokenizerFiles read_tokenizer_files(const fs::path& folder) {
  TokenizerFiles files{.folder = folder};
  const fs::path main_file = folder / "tokenizer.json";
  if (!fs::exists(main_file)) {
    const bool old = fs::exists(folder / "tokenizer.model") || fs::exists(folder / "vocab.json");
    core::fail(core::ErrorKind::kMissingInput,
               {.what = "no tokenizer.json in the model folder",
                .where = folder.string(),
                .hint = old ? "save the tokenizer once with a current transformers: "
                              "AutoTokenizer.from_pretrained(X).save_pretrained(X)"
                            : ""});
  }
  files.tokenizer_json = core::read_file(main_file, kMaxTokenizerBytes);

  const fs::path config_path = folder / "tokenizer_config.json";
  Json config = Json::object();
  if (fs::exists(config_path)) config = core::read_json_file(config_path);
  if (!config.is_object()) {
    core::fail(core::ErrorKind::kBadInput,
               {.what = "not a JSON object", .where = config_path.string()});
  }
  add_special_tokens(config, files);
  const fs::path legacy_path = folder / "special_tokens_map.json";
  if (fs::exists(legacy_path)) {
    const Json legacy = core::read_json_file(legacy_path);
    if (legacy.is_object()) add_special_tokens(legacy, files);
  }

  files.chat_template = template_file(folder / "chat_template.jinja");
  files.tool_template = template_file(folder / "additional_chat_templates" / "tool_use.jinja");
  if (!files.chat_template && !files.tool_template) templates_of_config(config, config_path, files);
  return files;
}

}  // namespace hone::data
