// One row of a data file as one of the shapes that can be tokenized, whatever format it came in.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/json.h"
#include "data/dataset.h"

namespace hone::data {

// A conversation. The first `num_prompt_messages` are the prompt of a prompt_completion or alpaca
// row; -1: none is.
struct ChatRow {
  core::Json messages;  // array of {role, content, ...}
  core::Json extra;     // tools and the template's other variables
  int64_t num_prompt_messages = -1;
  // What the data says of each message (its `train` or `weight`): trained, not trained, or nothing.
  // Empty: it says nothing of any.
  std::vector<std::optional<bool>> train;
};

// Plain text; `prompt` is empty in `text` rows. The end-of-sequence token is not yet there.
struct TextRow {
  std::string prompt, completion;
};

using Row = std::variant<ChatRow, TextRow>;

// By the names that recipes and command lines give them.
const std::map<std::string, RowFormat>& row_formats();

// Parses and converts one row. Throws kBadInput without `where`: the caller knows it. Alpaca rows
// become a user and an assistant turn if `use_chat_template`, else text with the prompts of the
// Alpaca paper's repository.
Row parse_row(std::string_view text, const DatasetSource& source, const DatasetOptions& options,
              bool use_chat_template);

}  // namespace hone::data
