#include "data/assistant_spans.h"

#include <algorithm>
#include <optional>

#include "core/error.h"

namespace hone::data {
using core::Json;
namespace {

Json first_messages(const Json& messages, size_t count) {
  Json result = Json::array();
  for (size_t i = 0; i < count; ++i) result.push_back(messages[i]);
  return result;
}

size_t common_prefix(const std::string& a, const std::string& b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<size_t>(end - a.begin());
}

// The text that comes before the reply, as at inference; nothing when the template refuses this
// prefix.
std::optional<std::string> generation_prompt(const Tokenizer& tokenizer, const ChatRow& row,
                                             size_t count) {
  if (count == 0) return std::nullopt;
  try {
    return tokenizer.render(first_messages(row.messages, count), true, row.extra).text;
  } catch (const core::Error&) {
    return std::nullopt;
  }
}

// Where message `index` begins to depend on its content: two renders that differ only in it agree
// up to there.
size_t header_end(const Tokenizer& tokenizer, const ChatRow& row, size_t index,
                  const std::string& text) {
  Json messages = first_messages(row.messages, index + 1);
  Json reply = {{"role", messages[index]["role"]}, {"content", "Q"}};
  messages[index] = reply;
  const std::string one = tokenizer.render(messages, false, row.extra).text;
  messages[index]["content"] = "Z";
  const std::string other = tokenizer.render(messages, false, row.extra).text;
  const size_t end = common_prefix(one, other);
  if (end == one.size() || common_prefix(one, text) < end) {
    core::fail(
        core::ErrorKind::kBadInput,
        {.what = "can't tell where the reply of message " + std::to_string(index) + " begins",
         .hint =
             "the chat template writes the prompt of a reply differently from the reply itself; "
             "put "
             "{% generation %} ... {% endgeneration %} around the reply in chat_template.jinja"});
  }
  return end;
}

// `text` ends with the turn of message `index`: trained from where the model would start to write
// it.
RenderedChat train_from_turn(const Tokenizer& tokenizer, const ChatRow& row, size_t index,
                             std::string text) {
  const auto prompt = generation_prompt(tokenizer, row, index);
  const size_t begin = prompt && text.starts_with(*prompt)
                           ? prompt->size()
                           : header_end(tokenizer, row, index, text);
  const Span span{begin, text.size()};
  return {std::move(text), {span}};
}

// The conversation up to and with message `index`, and where what the model would generate begins.
RenderedChat render_turn(const Tokenizer& tokenizer, const ChatRow& row, size_t index) {
  std::string text =
      tokenizer.render(first_messages(row.messages, index + 1), false, row.extra).text;
  return train_from_turn(tokenizer, row, index, std::move(text));
}

}  // namespace

std::vector<RenderedChat> render_assistant_spans(const ChatRow& row, const Tokenizer& tokenizer) {
  Rendered whole = tokenizer.render(row.messages, false, row.extra);
  if (whole.generation_spans) return {{std::move(whole.text), std::move(*whole.generation_spans)}};
  std::vector<RenderedChat> turns;
  bool stable = true;
  for (size_t i = 0; i < row.messages.size(); ++i) {
    if (row.messages[i]["role"] != "assistant") continue;
    turns.push_back(render_turn(tokenizer, row, i));
    stable = stable && whole.text.starts_with(turns.back().text);
  }
  if (!stable) return turns;
  RenderedChat result{std::move(whole.text), {}};
  for (const RenderedChat& turn : turns) result.trained.push_back(turn.trained[0]);
  return {std::move(result)};
}

RenderedChat render_completion_span(const ChatRow& row, const Tokenizer& tokenizer) {
  const auto index = static_cast<size_t>(row.num_prompt_messages);
  std::string text = tokenizer.render(row.messages, false, row.extra).text;
  return train_from_turn(tokenizer, row, index, std::move(text));
}

}  // namespace hone::data
