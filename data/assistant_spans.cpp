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
  // A turn that another speaks begins with its content: no generation prompt asks for it.
  const bool generated = row.messages[index]["role"] == "assistant" || row.num_prompt_messages >= 0;
  const auto prompt = generated ? generation_prompt(tokenizer, row, index) : std::nullopt;
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

bool is_trained(const ChatRow& row, size_t index) {
  if (!row.train.empty() && row.train[index]) return *row.train[index];
  return row.messages[index]["role"] == "assistant";
}

// Where the turn of message `index` ends in the text of the whole conversation.
size_t turn_end(const Tokenizer& tokenizer, const ChatRow& row, size_t index,
                const std::string& text) {
  if (index + 1 == row.messages.size()) return text.size();
  const std::string prefix =
      tokenizer.render(first_messages(row.messages, index + 1), false, row.extra).text;
  if (text.starts_with(prefix)) return prefix.size();
  core::fail(core::ErrorKind::kBadInput,
             {.what = "can't tell where message " + std::to_string(index) +
                      " ends, which its neighbour's train or weight needs",
              .hint = "the chat template writes a conversation that goes on differently from one "
                      "that ends there"});
}

// Takes [begin, end) out of sorted spans.
std::vector<Span> without(const std::vector<Span>& spans, Span cut) {
  std::vector<Span> result;
  for (const auto& [begin, end] : spans) {
    if (begin < std::min(end, cut.first)) result.emplace_back(begin, std::min(end, cut.first));
    if (std::max(begin, cut.second) < end) result.emplace_back(std::max(begin, cut.second), end);
  }
  return result;
}

// Takes out the turns that say false, and adds those that say true and are not trained yet.
void follow_flags(const ChatRow& row, const Tokenizer& tokenizer, RenderedChat& chat) {
  for (size_t i = 0; i < row.train.size(); ++i) {
    if (!row.train[i]) continue;
    const size_t end = turn_end(tokenizer, row, i, chat.text);
    const size_t begin = i == 0 ? 0 : turn_end(tokenizer, row, i - 1, chat.text);
    if (!*row.train[i]) {
      chat.trained = without(chat.trained, {begin, end});
      continue;
    }
    const bool touched = std::ranges::any_of(
        chat.trained, [&](Span span) { return span.first < end && span.second > begin; });
    if (touched) continue;
    chat.trained.emplace_back(header_end(tokenizer, row, i, chat.text), end);
    std::ranges::sort(chat.trained);
  }
}

}  // namespace

std::vector<RenderedChat> render_assistant_spans(const ChatRow& row, const Tokenizer& tokenizer) {
  Rendered whole = tokenizer.render(row.messages, false, row.extra);
  if (whole.generation_spans) {
    RenderedChat chat{std::move(whole.text), std::move(*whole.generation_spans)};
    follow_flags(row, tokenizer, chat);
    return {std::move(chat)};
  }
  std::vector<RenderedChat> turns;
  bool stable = true;
  for (size_t i = 0; i < row.messages.size(); ++i) {
    if (!is_trained(row, i)) continue;
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
  RenderedChat chat = train_from_turn(tokenizer, row, index, std::move(text));
  follow_flags(row, tokenizer, chat);
  return chat;
}

RenderedChat render_whole(const ChatRow& row, const Tokenizer& tokenizer) {
  std::string text = tokenizer.render(row.messages, false, row.extra).text;
  const Span all{0, text.size()};
  RenderedChat chat{std::move(text), {all}};
  follow_flags(row, tokenizer, chat);
  return chat;
}

}  // namespace hone::data
