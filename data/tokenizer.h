// Hugging Face tokenization and chat templates, exact: the `tokenizers` and `minijinja` crates
// behind hftext/hftext.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.h"

namespace hone::data {

struct Encoding {
  std::vector<int32_t> ids;
  std::vector<std::pair<uint32_t, uint32_t>> offsets;  // byte ranges of the text, one a token
};

struct Rendered {
  std::string text;
  // Byte ranges of `text` inside {% generation %} blocks; nullopt if the template has none of these
  // blocks.
  std::optional<std::vector<std::pair<size_t, size_t>>> generation_spans;
};

// Thread-safe for const use. Loaded from a model folder: tokenizer.json, tokenizer_config.json,
// chat_template.jinja (or the older places of the template).
class Tokenizer {
 public:
  static Tokenizer load(
      const std::filesystem::path& folder);  // throws kMissingInput, kBadInput naming the file
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  Encoding encode(std::string_view text, bool add_special_tokens) const;
  std::string decode(const std::vector<int32_t>& ids, bool skip_special_tokens) const;
  // As apply_chat_template(tokenize=False): `messages` is an array of {role, content, ...}; `extra`
  // holds tools and the template's other variables. Throws kBadInput naming the template line when
  // the template raises or exceeds its budget.
  Rendered render(const core::Json& messages, bool add_generation_prompt,
                  const core::Json& extra = {}) const;
  bool has_chat_template() const;
  int64_t vocab_size() const;         // with added tokens
  bool is_special(int32_t id) const;  // an added token that the file marks as special
  std::optional<int32_t> token_id(std::string_view token) const;
  std::optional<int32_t> bos_token_id() const;
  std::optional<int32_t> eos_token_id() const;
  std::optional<int32_t> pad_token_id() const;
  // SHA-256 over the files and settings that decide ids and templates: part of the token cache's
  // key.
  std::string fingerprint() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hone::data
