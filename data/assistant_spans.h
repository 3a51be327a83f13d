// Which characters of a rendered conversation are the assistant's: by the template's {% generation
// %} blocks, else by rendering prefixes of the conversation with the model's own template.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "data/row_format.h"
#include "data/tokenizer.h"

namespace hone::data {

using Span = std::pair<size_t, size_t>;  // bytes [first, second)

struct RenderedChat {
  std::string text;
  std::vector<Span> trained;
};

// One rendered text, or several when the template rewrites history (Qwen3 drops earlier reasoning):
// then each assistant turn is rendered as it is generated, with what comes before it, and trained
// alone. Throws kBadInput when the template fails, or when a turn's beginning can't be told.
std::vector<RenderedChat> render_assistant_spans(const ChatRow& row, const Tokenizer& tokenizer);

// The whole conversation with everything after the prompt messages trained.
RenderedChat render_completion_span(const ChatRow& row, const Tokenizer& tokenizer);

// The whole conversation, all of it trained.
RenderedChat render_whole(const ChatRow& row, const Tokenizer& tokenizer);

// All three follow row.train: a turn that says false is not trained, headers included; one that
// says true is trained from where its content begins, whoever speaks. Where turns lie is told by
// rendering prefixes of the conversation; throws kBadInput when the template does not keep them.

}  // namespace hone::data
