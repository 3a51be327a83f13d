#include "data/tokenizer.h"

#include <cstdlib>
#include <ctime>

#include "core/error.h"
#include "core/hash.h"
#include "data/hftext/hftext.h"
#include "data/tokenizer_files.h"

namespace hone::data {
using core::ErrorKind;
using core::Json;
namespace {

struct TokenizerDeleter {
  void operator()(hft_tokenizer* t) const { hft_tokenizer_free(t); }
};
struct TemplateDeleter {
  void operator()(hft_template* t) const { hft_template_free(t); }
};

// Takes the text over from the library.
std::string take(hft_text text) {
  std::string copy(text.data, text.size);
  hft_text_free(text);
  return copy;
}

[[noreturn]] void fail_with(hft_error& error, const std::string& file, const std::string& what) {
  const std::string where = error.line > 0 ? file + ":" + std::to_string(error.line) : file;
  core::fail(ErrorKind::kBadInput, {.what = what + ": " + take(error.message), .where = where});
}

// What strftime_now reads: the clock, or SOURCE_DATE_EPOCH for reproducible data.
int64_t template_clock() {
  if (const char* fixed = std::getenv("SOURCE_DATE_EPOCH")) return std::strtoll(fixed, nullptr, 10);
  return static_cast<int64_t>(std::time(nullptr));
}

// As transformers does: keys that are null are dropped, and reasoning, which comes under three
// names, is given under the two that templates read.
Json template_messages(const Json& messages) {
  Json result = Json::array();
  for (const Json& message : messages) {
    const Json* reasoning = nullptr;
    for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
      const auto it = message.find(name);
      if (!reasoning && it != message.end() && !it->is_null()) reasoning = &*it;
    }
    Json kept = Json::object();
    if (reasoning) kept["thinking"] = *reasoning;
    for (const auto& [key, value] : message.items()) {
      if (!value.is_null()) kept[key] = value;
    }
    if (reasoning) kept["reasoning_content"] = *reasoning;
    result.push_back(std::move(kept));
  }
  return result;
}

using TokenizerHandle = std::unique_ptr<hft_tokenizer, TokenizerDeleter>;
using TemplateHandle = std::unique_ptr<hft_template, TemplateDeleter>;

TokenizerHandle load_tokenizer(const std::string& json, const std::string& path) {
  hft_error error{};
  hft_tokenizer* tokenizer = nullptr;
  if (hft_tokenizer_load(json.data(), json.size(), &tokenizer, &error)) {
    fail_with(error, path, "not a tokenizer this program can read");
  }
  return TokenizerHandle(tokenizer);
}

struct CompiledTemplate {
  TemplateHandle handle;
  std::string path;
};

std::optional<CompiledTemplate> compile_template(const std::optional<ChatTemplate>& source) {
  if (!source) return std::nullopt;
  hft_error error{};
  hft_template* compiled = nullptr;
  if (hft_template_compile(source->text.data(), source->text.size(), &compiled, &error)) {
    fail_with(error, source->path, "the chat template can't be compiled");
  }
  return CompiledTemplate{TemplateHandle(compiled), source->path};
}

std::string fingerprint_of(const TokenizerFiles& files) {
  core::Sha256 hash;
  hash.update("hftext 1\n" + core::sha256_hex(files.tokenizer_json));
  for (const SpecialToken& token : files.special_tokens) {
    hash.update("\n" + token.name + "=" + core::sha256_hex(token.text));
  }
  if (files.chat_template) hash.update("\ntemplate=" + files.chat_template->text);
  if (files.tool_template) hash.update("\ntool_use=" + files.tool_template->text);
  return hash.hex();
}

}  // namespace

struct Tokenizer::Impl {
  TokenizerFiles files;
  TokenizerHandle tokenizer;
  std::optional<CompiledTemplate> chat_template, tool_template;
  std::string fingerprint;

  std::optional<int32_t> special_id(std::string_view name) const {
    const std::string* text = files.special_token(name);
    if (!text) return std::nullopt;
    const int64_t id = hft_token_to_id(tokenizer.get(), text->data(), text->size());
    if (id < 0) return std::nullopt;
    return static_cast<int32_t>(id);
  }

  const CompiledTemplate& template_for(bool has_tools) const {
    if (has_tools && tool_template) return *tool_template;
    if (chat_template) return *chat_template;
    core::fail(ErrorKind::kBadInput,
               {.what = tool_template ? "the tokenizer has a chat template for tools only"
                                      : "the tokenizer has no chat template",
                .where = files.folder.string(),
                .hint = "put the model's template into chat_template.jinja of that folder"});
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::filesystem::path& folder) {
  auto impl = std::make_unique<Impl>();
  impl->files = read_tokenizer_files(folder);
  const TokenizerFiles& files = impl->files;
  impl->fingerprint = fingerprint_of(files);
  impl->tokenizer = load_tokenizer(files.tokenizer_json, (folder / "tokenizer.json").string());
  impl->files.tokenizer_json = {};
  impl->chat_template = compile_template(files.chat_template);
  impl->tool_template = compile_template(files.tool_template);
  return Tokenizer(std::move(impl));
}

Encoding Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  hft_encoding raw{};
  hft_error error{};
  if (hft_encode(impl_->tokenizer.get(), text.data(), text.size(), add_special_tokens, &raw,
                 &error)) {
    fail_with(error, "", "can't tokenize");
  }
  Encoding result;
  result.ids.assign(raw.ids, raw.ids + raw.num_ids);
  result.offsets.reserve(raw.num_offsets);
  for (size_t i = 0; i < raw.num_offsets; ++i) {
    result.offsets.emplace_back(raw.offsets[2 * i], raw.offsets[2 * i + 1]);
  }
  hft_encoding_free(raw);
  return result;
}

std::string Tokenizer::decode(const std::vector<int32_t>& ids, bool skip_special_tokens) const {
  const std::vector<uint32_t> unsigned_ids(ids.begin(), ids.end());
  hft_text text{};
  hft_error error{};
  if (hft_decode(impl_->tokenizer.get(), unsigned_ids.data(), unsigned_ids.size(),
                 skip_special_tokens, &text, &error)) {
    fail_with(error, "", "can't decode");
  }
  return take(text);
}

Rendered Tokenizer::render(const Json& messages, bool add_generation_prompt,
                           const Json& extra) const {
  const bool has_tools = extra.is_object() && extra.contains("tools") && !extra["tools"].is_null();
  const CompiledTemplate& chat_template = impl_->template_for(has_tools);
  Json context = {{"messages", template_messages(messages)},
                  {"tools", nullptr},
                  {"documents", nullptr},
                  {"add_generation_prompt", add_generation_prompt}};
  for (const SpecialToken& token : impl_->files.special_tokens) context[token.name] = token.text;
  if (extra.is_object()) context.update(extra);
  const std::string json = context.dump();
  hft_text text{};
  hft_encoding spans{};
  hft_error error{};
  if (hft_template_render(chat_template.handle.get(), json.data(), json.size(), template_clock(),
                          &text, &spans, &error)) {
    fail_with(error, chat_template.path, "the chat template failed");
  }
  Rendered result{.text = take(text)};
  if (hft_template_has_generation(chat_template.handle.get())) {
    result.generation_spans.emplace();
    for (size_t i = 0; i < spans.num_offsets; ++i) {
      result.generation_spans->emplace_back(spans.offsets[2 * i], spans.offsets[2 * i + 1]);
    }
  }
  hft_encoding_free(spans);
  return result;
}

bool Tokenizer::has_chat_template() const {
  return impl_->chat_template.has_value() || impl_->tool_template.has_value();
}

int64_t Tokenizer::vocab_size() const {
  return static_cast<int64_t>(hft_vocab_size(impl_->tokenizer.get()));
}

bool Tokenizer::is_special(int32_t id) const {
  return hft_is_special(impl_->tokenizer.get(), static_cast<uint32_t>(id)) != 0;
}

std::optional<int32_t> Tokenizer::token_id(std::string_view token) const {
  const int64_t id = hft_token_to_id(impl_->tokenizer.get(), token.data(), token.size());
  if (id < 0) return std::nullopt;
  return static_cast<int32_t>(id);
}

std::optional<int32_t> Tokenizer::bos_token_id() const { return impl_->special_id("bos_token"); }
std::optional<int32_t> Tokenizer::eos_token_id() const { return impl_->special_id("eos_token"); }
std::optional<int32_t> Tokenizer::pad_token_id() const { return impl_->special_id("pad_token"); }
std::string Tokenizer::fingerprint() const { return impl_->fingerprint; }

}  // namespace hone::data
