// Rows of a data file in every format; an accepted conversation, written as a row, reads the same.
#include <array>
#include <variant>

#include "core/json.h"
#include "data/row_format.h"
#include "data/row_reader.h"
#include "tests/fuzz/target.h"

namespace hone::fuzz {
namespace {

using data::RowFormat;

constexpr std::array kFormats = {RowFormat::kMessages, RowFormat::kShareGpt, RowFormat::kAlpaca,
                                 RowFormat::kPromptCompletion, RowFormat::kText};

void check_again(const data::ChatRow& row) {
  core::Json again{{"messages", row.messages}};
  const data::Row read = data::parse_row(again.dump(), {.format = RowFormat::kMessages}, {}, true);
  const auto* chat = std::get_if<data::ChatRow>(&read);
  require(chat != nullptr && chat->messages == row.messages, "a conversation changed");
}

void check_row(std::string_view text, RowFormat format) {
  accepts([&] {
    const data::Row row = data::parse_row(text, {.format = format}, {}, true);
    const auto* chat = std::get_if<data::ChatRow>(&row);
    if (chat == nullptr) return;
    require(chat->messages.is_array() && !chat->messages.empty(), "a conversation of nothing");
    require(chat->num_prompt_messages < static_cast<int64_t>(chat->messages.size()),
            "a prompt without an answer");
    check_again(*chat);
  });
}

void check_file(const std::filesystem::path& path, std::string_view input) {
  accepts([&] {
    const auto reader = data::open_rows(path, {});
    size_t last_line = 0;
    for (data::FileRow row; reader->next(row);) {
      require(row.line >= last_line, "rows are out of order");
      require(!row.text.empty() && row.text.size() <= input.size(), "a row is not of the file");
      last_line = row.line;
      for (const RowFormat format : kFormats) check_row(row.text, format);
    }
  });
}

}  // namespace

void fuzz_jsonl(std::string_view input) {
  check_file(write_scratch("input.jsonl", input), input);
  check_file(write_scratch("input.json", input), input);
}

}  // namespace hone::fuzz
