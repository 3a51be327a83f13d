// A chat template: rendering ends within its budget, the same twice, and generation spans lie
// inside the text in order.
#include "core/json.h"
#include "core/text.h"
#include "data/tokenizer.h"
#include "tests/fuzz/target.h"

namespace hone::fuzz {
namespace {

constexpr size_t kMaxOutput = size_t{16} << 20;
constexpr const char* kTokenizer =
    R"({"version": "1.0", "added_tokens": [{"id": 0, "content": "<s>", "special": true,
 "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}],
 "model": {"type": "WordLevel", "vocab": {"<s>": 0, "a": 1}, "unk_token": "<s>"}})";

core::Json messages() {
  return {{{"role", "system"}, {"content", "Be brief."}},
          {{"role", "user"}, {"content", "Which package has grep? \u00e9"}},
          {{"role", "assistant"},
           {"content", ""},
           {"reasoning_content", "look it up"},
           {"tool_calls",
            {{{"type", "function"},
              {"function", {{"name", "find"}, {"arguments", {{"file", "grep"}, {"n", 1.5}}}}}}}}},
          {{"role", "tool"}, {"name", "find"}, {"content", "grep"}},
          {{"role", "assistant"}, {"content", "grep"}}};
}

core::Json tools() {
  return {{"tools",
           {{{"type", "function"},
             {"function",
              {{"name", "find"},
               {"description", "Finds a package"},
               {"parameters",
                {{"type", "object"}, {"properties", {{"file", {{"type", "string"}}}}}}}}}}}}};
}

void check_render(const data::Tokenizer& tokenizer, bool prompt, const core::Json& extra) {
  accepts([&] {
    const data::Rendered first = tokenizer.render(messages(), prompt, extra);
    require(first.text.size() <= kMaxOutput, "more text than allowed");
    require(core::is_valid_utf8(first.text), "rendered text is not UTF-8");
    size_t begin_before = 0;
    const std::vector<std::pair<size_t, size_t>> none;
    for (const auto& [begin, end] : first.generation_spans ? *first.generation_spans : none) {
      require(begin_before <= begin && begin <= end && end <= first.text.size(),
              "a span is outside the text or out of order");
      begin_before = begin;
    }
    if (first.text.size() > 4096) return;  // once is enough for the slow ones
    const data::Rendered second = tokenizer.render(messages(), prompt, extra);
    require(second.text == first.text, "the same conversation gives another text");
  });
}

}  // namespace

void fuzz_template(std::string_view input) {
  write_scratch("template/tokenizer.json", kTokenizer);
  write_scratch("template/chat_template.jinja", input);
  accepts([&] {
    const data::Tokenizer tokenizer = data::Tokenizer::load(scratch_folder() / "template");
    check_render(tokenizer, true, core::Json::object());
    check_render(tokenizer, false, tools());
  });
}

}  // namespace hone::fuzz
