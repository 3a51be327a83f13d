#include "data/row_tokens.h"

#include <algorithm>

#include "core/error.h"
#include "data/assistant_spans.h"

namespace hone::data {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

void refuse_double_bos(const std::vector<int32_t>& ids, const Tokenizer& tokenizer) {
  const auto bos = tokenizer.bos_token_id();
  if (!bos || ids.size() < 2 || ids[0] != *bos || ids[1] != *bos) return;
  core::fail(
      core::ErrorKind::kBadInput,
      {.what = "the row begins with the BOS token twice",
       .hint = "the text, or the chat template, writes a token that the tokenizer adds too"});
}

// A token without characters (added by the tokenizer's post-processor) follows the token before it.
void mark_span(const Encoding& encoding, Span span, std::vector<uint8_t>& trained) {
  for (size_t i = 0; i < trained.size(); ++i) {
    const auto [begin, end] = encoding.offsets[i];
    const bool inside =
        begin == end ? i > 0 && trained[i - 1] : begin < span.second && end > span.first;
    if (inside) trained[i] = 1;
  }
}

MaskedTokens mask_chat(const RenderedChat& chat, const Tokenizer& tokenizer) {
  Encoding encoding = tokenizer.encode(chat.text, false);
  refuse_double_bos(encoding.ids, tokenizer);
  std::vector<uint8_t> trained(encoding.ids.size(), 0);
  for (const Span& span : chat.trained) mark_span(encoding, span, trained);
  return {std::move(encoding.ids), std::move(trained)};
}

std::vector<MaskedTokens> tokenize_chat(const ChatRow& row, const DatasetOptions& options,
                                        const Tokenizer& tokenizer) {
  std::vector<MaskedTokens> result;
  const bool has_prompt = row.num_prompt_messages >= 0;
  if (has_prompt && options.completion_only_loss) {
    result.push_back(mask_chat(render_completion_span(row, tokenizer), tokenizer));
  } else if (!has_prompt && options.assistant_only_loss) {
    for (const RenderedChat& chat : render_assistant_spans(row, tokenizer)) {
      result.push_back(mask_chat(chat, tokenizer));
    }
  } else {
    result.push_back(mask_chat(render_whole(row, tokenizer), tokenizer));
  }
  return result;
}

// As TRL: BOS by the tokenizer's own rule, EOS put at the end unless the text has it already.
MaskedTokens tokenize_text(const TextRow& row, const DatasetOptions& options,
                           const Tokenizer& tokenizer) {
  std::string text = row.prompt + row.completion;
  const auto eos = tokenizer.eos_token_id();
  const std::string eos_text = eos ? tokenizer.decode({*eos}, false) : "";
  if (!text.ends_with(eos_text)) text += eos_text;
  Encoding encoding = tokenizer.encode(text, true);
  // The tokenizer's post-processor may add EOS as well.
  const size_t size = encoding.ids.size();
  if (eos && size >= 2 && encoding.ids[size - 1] == *eos && encoding.ids[size - 2] == *eos) {
    encoding.ids.pop_back();
    encoding.offsets.pop_back();
  }
  refuse_double_bos(encoding.ids, tokenizer);
  const bool all = row.prompt.empty() || !options.completion_only_loss;
  std::vector<uint8_t> trained(encoding.ids.size(), all ? 1 : 0);
  if (!all) mark_span(encoding, {row.prompt.size(), text.size()}, trained);
  return {std::move(encoding.ids), std::move(trained)};
}

}  // namespace

std::vector<MaskedTokens> tokenize_row(const Row& row, const DatasetOptions& options,
                                       const Tokenizer& tokenizer) {
  if (const auto* chat = std::get_if<ChatRow>(&row))
    return tokenize_chat(*chat, options, tokenizer);
  std::vector<MaskedTokens> result;
  result.push_back(tokenize_text(std::get<TextRow>(row), options, tokenizer));
  return result;
}

bool trains_end_of_turn(const MaskedTokens& row, const Tokenizer& tokenizer) {
  const auto eos = tokenizer.eos_token_id();
  for (size_t end = row.ids.size(); end > 0; --end) {
    if (!row.trained[end - 1] || (end < row.ids.size() && row.trained[end])) continue;
    for (size_t i = end; i > 0 && row.trained[i - 1]; --i) {
      const int32_t id = row.ids[i - 1];
      if (tokenizer.is_special(id) || id == eos) return true;
      const std::string text = tokenizer.decode({id}, false);
      if (!std::all_of(text.begin(), text.end(), is_space)) break;
    }
  }
  return false;
}

}  // namespace hone::data
