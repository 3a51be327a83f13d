#include "data/row_format.h"

#include <array>

#include "core/error.h"

namespace hone::data {
using core::ErrorKind;
using core::Json;
namespace {

[[noreturn]] void bad_row(std::string what, std::string got = "", std::string expected = "") {
  core::fail(ErrorKind::kBadInput,
             {.what = std::move(what), .got = std::move(got), .expected = std::move(expected)});
}

// The row's columns under our names.
class Columns {
 public:
  Columns(const Json& row, const DatasetSource& source) : row_(row), source_(source) {}

  std::string file_name(std::string_view name) const {
    for (const auto& [ours, theirs] : source_.columns) {
      if (ours == name) return theirs;
    }
    return std::string(name);
  }
  const Json* find(std::string_view name) const {
    const auto it = row_.find(file_name(name));
    return it == row_.end() || it->is_null() ? nullptr : &*it;
  }
  const Json& need(std::string_view name) const {
    if (const Json* value = find(name)) return *value;
    std::string keys;
    for (const auto& [key, unused] : row_.items()) keys += (keys.empty() ? "" : ", ") + key;
    bad_row("no column \"" + file_name(name) + "\"", "columns " + (keys.empty() ? "none" : keys));
  }
  std::string need_text(std::string_view name) const {
    const Json& value = need(name);
    if (!value.is_string())
      bad_row("column \"" + file_name(name) + "\"", value.type_name(), "a string");
    return value.get<std::string>();
  }
  std::string text_or_empty(std::string_view name) const {
    return find(name) ? need_text(name) : "";
  }

 private:
  const Json& row_;
  const DatasetSource& source_;
};

Json normal_message(const Json& result, const std::string& place) {
  if (!result.is_object()) bad_row(place, result.type_name(), "an object with role and content");
  if (!result.contains("role") || !result["role"].is_string()) bad_row(place + ": no role");
  const bool has_calls = result.contains("tool_calls") && !result["tool_calls"].is_null();
  if (!result.contains("content") || result["content"].is_null()) {
    if (!has_calls) bad_row(place + ": no content");
    return result;
  }
  const Json& content = result["content"];
  if (!content.is_string() && !content.is_array()) {
    bad_row(place + ": content", content.type_name(), "a string or a list of parts");
  }
  return result;
}

Json normal_messages(const Json& value, const std::string& column) {
  if (!value.is_array())
    bad_row("column \"" + column + "\"", value.type_name(), "a list of messages");
  if (value.empty()) bad_row("column \"" + column + "\" has no messages");
  Json result = Json::array();
  for (size_t i = 0; i < value.size(); ++i) {
    result.push_back(normal_message(value[i], column + "[" + std::to_string(i) + "]"));
  }
  return result;
}

// A list of objects, or its JSON text, as datasets with one schema for all rows must keep it.
Json list_of_objects(const Json& value, const std::string& column) {
  Json list = value.is_string() ? core::parse_json(value.get<std::string>(), column) : value;
  if (!list.is_array()) bad_row("column \"" + column + "\"", list.type_name(), "a list of objects");
  for (const Json& item : list) {
    if (!item.is_object())
      bad_row("column \"" + column + "\": an element", item.type_name(), "an object");
  }
  return list;
}

// What goes to the template beside the messages, as in TRL and transformers: tools, documents and
// chat_template_kwargs.
Json template_extra(const Columns& columns) {
  Json extra = Json::object();
  if (const Json* more = columns.find("chat_template_kwargs")) {
    if (!more->is_object())
      bad_row("column \"chat_template_kwargs\"", more->type_name(), "an object");
    extra = *more;
  }
  if (const Json* tools = columns.find("tools")) {
    Json list = list_of_objects(*tools, columns.file_name("tools"));
    if (!list.empty()) extra["tools"] = std::move(list);
  }
  if (const Json* documents = columns.find("documents")) {
    extra["documents"] = list_of_objects(*documents, columns.file_name("documents"));
  }
  return extra;
}

// Takes `train: true|false` (axolotl) and `weight: 0|1` (OpenAI) out of a turn, which the template
// never sees.
std::optional<bool> take_train_flag(Json& turn, const std::string& place) {
  std::optional<bool> flag;
  if (const auto train = turn.find("train"); train != turn.end() && !train->is_null()) {
    if (!train->is_boolean()) bad_row(place + ": train", train->dump(), "true or false");
    flag = train->get<bool>();
  }
  if (const auto weight = turn.find("weight"); weight != turn.end() && !weight->is_null()) {
    const bool known = weight->is_number() && (*weight == 0 || *weight == 1);
    if (!known) bad_row(place + ": weight", weight->dump(), "0 or 1");
    const bool trained = *weight == 1;
    if (flag && *flag != trained)
      bad_row(place + ": train and weight disagree",
              "train " + std::string(*flag ? "true" : "false") + ", weight " + weight->dump());
    flag = trained;
  }
  turn.erase("train");
  turn.erase("weight");
  return flag;
}

void take_train_flags(ChatRow& row, const std::string& column) {
  std::vector<std::optional<bool>> flags;
  bool any = false;
  for (size_t i = 0; i < row.messages.size(); ++i) {
    flags.push_back(take_train_flag(row.messages[i], column + "[" + std::to_string(i) + "]"));
    any = any || flags.back().has_value();
  }
  if (any) row.train = std::move(flags);
}

struct RoleName {
  std::string_view theirs, ours;
};
constexpr std::array kShareGptRoles = {
    RoleName{"human", "user"},        RoleName{"user", "user"},
    RoleName{"gpt", "assistant"},     RoleName{"assistant", "assistant"},
    RoleName{"chatgpt", "assistant"}, RoleName{"model", "assistant"},
    RoleName{"bot", "assistant"},     RoleName{"bard", "assistant"},
    RoleName{"bing", "assistant"},    RoleName{"function_call", "assistant"},
    RoleName{"system", "system"},     RoleName{"tool", "tool"},
    RoleName{"function", "tool"},     RoleName{"function_response", "tool"},
    RoleName{"observation", "tool"},
};

Json sharegpt_messages(const Columns& columns) {
  const std::string column = columns.file_name("conversations");
  const Json& turns = columns.need("conversations");
  if (!turns.is_array()) bad_row("column \"" + column + "\"", turns.type_name(), "a list of turns");
  if (turns.empty()) bad_row("column \"" + column + "\" has no turns");
  Json messages = Json::array();
  if (const std::string system = columns.text_or_empty("system"); !system.empty()) {
    messages.push_back({{"role", "system"}, {"content", system}});
  }
  for (size_t i = 0; i < turns.size(); ++i) {
    const Json& turn = turns[i];
    const std::string place = column + "[" + std::to_string(i) + "]";
    if (!turn.is_object() || !turn.contains("from") || !turn["from"].is_string())
      bad_row(place + ": no \"from\"");
    if (!turn.contains("value") || !turn["value"].is_string()) bad_row(place + ": no \"value\"");
    const std::string from = turn["from"];
    const RoleName* role = nullptr;
    for (const RoleName& known : kShareGptRoles) {
      if (known.theirs == from) role = &known;
    }
    if (!role)
      bad_row(place + ": unknown speaker", "\"" + from + "\"", "human, gpt, system, tool, ...");
    Json message = {{"role", role->ours}, {"content", turn["value"]}};
    for (const char* flag : {"train", "weight"}) {
      if (turn.contains(flag)) message[flag] = turn[flag];
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

// The prompts of https://github.com/tatsu-lab/stanford_alpaca.
std::string alpaca_prompt(const std::string& instruction, const std::string& input) {
  if (input.empty()) {
    return "Below is an instruction that describes a task. Write a response that appropriately "
           "completes the "
           "request.\n\n### Instruction:\n" +
           instruction + "\n\n### Response:\n";
  }
  return "Below is an instruction that describes a task, paired with an input that provides "
         "further context. Write a "
         "response that appropriately completes the request.\n\n### Instruction:\n" +
         instruction + "\n\n### Input:\n" + input + "\n\n### Response:\n";
}

Row alpaca_row(const Columns& columns, bool use_chat_template) {
  const std::string instruction = columns.need_text("instruction"),
                    input = columns.text_or_empty("input");
  const std::string output = columns.need_text("output");
  if (!use_chat_template) return TextRow{alpaca_prompt(instruction, input), output};
  Json messages = Json::array();
  if (const std::string system = columns.text_or_empty("system"); !system.empty()) {
    messages.push_back({{"role", "system"}, {"content", system}});
  }
  messages.push_back(
      {{"role", "user"}, {"content", input.empty() ? instruction : instruction + "\n\n" + input}});
  messages.push_back({{"role", "assistant"}, {"content", output}});
  const auto num_prompt = static_cast<int64_t>(messages.size()) - 1;
  return ChatRow{std::move(messages), Json::object(), num_prompt};
}

Row prompt_completion_row(const Columns& columns) {
  const Json& prompt = columns.need("prompt");
  const Json& completion = columns.need("completion");
  if (prompt.is_string() && completion.is_string()) {
    return TextRow{prompt.get<std::string>(), completion.get<std::string>()};
  }
  if (prompt.is_string() || completion.is_string()) {
    bad_row("prompt and completion must be of one kind", "a string and a list",
            "two strings, or two message lists");
  }
  Json messages = normal_messages(prompt, columns.file_name("prompt"));
  const auto num_prompt = static_cast<int64_t>(messages.size());
  for (Json& message : normal_messages(completion, columns.file_name("completion"))) {
    messages.push_back(std::move(message));
  }
  return ChatRow{std::move(messages), template_extra(columns), num_prompt};
}

void add_system_prompt(ChatRow& row, const std::string& system_prompt) {
  if (system_prompt.empty()) return;
  const std::string first = row.messages[0]["role"];
  if (first == "system" || first == "developer") return;
  Json messages = Json::array({{{"role", "system"}, {"content", system_prompt}}});
  for (Json& message : row.messages) messages.push_back(std::move(message));
  row.messages = std::move(messages);
  if (row.num_prompt_messages >= 0) ++row.num_prompt_messages;
  if (!row.train.empty()) row.train.insert(row.train.begin(), std::nullopt);
}

}  // namespace

const std::map<std::string, RowFormat>& row_formats() {
  static const std::map<std::string, RowFormat> formats{
      {"messages", RowFormat::kMessages},
      {"sharegpt", RowFormat::kShareGpt},
      {"alpaca", RowFormat::kAlpaca},
      {"prompt_completion", RowFormat::kPromptCompletion},
      {"text", RowFormat::kText}};
  return formats;
}

Row parse_row(std::string_view text, const DatasetSource& source, const DatasetOptions& options,
              bool use_chat_template) {
  const Json json = core::parse_json(text, "");
  if (!json.is_object()) bad_row("row is not an object", json.type_name());
  const Columns columns(json, source);
  Row row;
  switch (source.format) {
    case RowFormat::kMessages:
      row = ChatRow{normal_messages(columns.need("messages"), columns.file_name("messages")),
                    template_extra(columns)};
      break;
    case RowFormat::kShareGpt:
      row = ChatRow{sharegpt_messages(columns), template_extra(columns)};
      break;
    case RowFormat::kAlpaca:
      row = alpaca_row(columns, use_chat_template);
      break;
    case RowFormat::kPromptCompletion:
      row = prompt_completion_row(columns);
      break;
    case RowFormat::kText:
      row = TextRow{"", columns.need_text("text")};
      break;
  }
  if (auto* chat = std::get_if<ChatRow>(&row)) {
    take_train_flags(*chat, "messages");
    add_system_prompt(*chat, options.system_prompt);
  }
  return row;
}

}  // namespace hone::data
