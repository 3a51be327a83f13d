#include <chrono>
#include <cstdlib>

#include "tests/data/support.h"

namespace hone::data {
namespace {

Json user(const std::string& text) { return Json::array({{{"role", "user"}, {"content", text}}}); }

class GoldenTemplate : public testing::TestWithParam<const char*> {};

// What strftime_now reads while this lives.
class FixedClock {
 public:
  explicit FixedClock(const char* unix_seconds) {
    ::setenv("SOURCE_DATE_EPOCH", unix_seconds, 1);
    ::setenv("TZ", "UTC", 1);
  }
  ~FixedClock() { ::unsetenv("SOURCE_DATE_EPOCH"); }
};

TEST_P(GoldenTemplate, RendersTextSpansAndIdsAsTransformers) {
  const FixedClock clock("1795435200");  // the day the golden files were made
  const std::string name = GetParam();
  const TempFolder folder;
  const std::string kind = core::read_json_file(golden_text() / "templates.json")[name];
  const Tokenizer tokenizer = make_tokenizer(folder, kind, golden_template(name));
  const Json chats = core::read_json_file(golden_text() / "chats.json");
  size_t num_rendered = 0;
  for (const Json& row : core::read_json_file(golden_text() / "rendered" / (name + ".json"))) {
    const Json& chat = chats[row["chat"].get<size_t>()];
    if (chat["messages"].empty()) continue;
    SCOPED_TRACE(chat["name"].dump() + row["add_generation_prompt"].dump());
    if (row.contains("refuses")) {
      const Failure failure = failure_of(
          [&] { tokenizer.render(chat["messages"], row["add_generation_prompt"], chat["extra"]); });
      EXPECT_TRUE(failure.thrown) << row["refuses"];
      continue;
    }
    const Rendered rendered =
        tokenizer.render(chat["messages"], row["add_generation_prompt"], chat["extra"]);
    EXPECT_EQ(rendered.text, row["text"].get<std::string>());
    ++num_rendered;
    if (!row.contains("generation_spans")) continue;
    ASSERT_TRUE(rendered.generation_spans.has_value());
    using Spans = std::vector<std::pair<size_t, size_t>>;
    EXPECT_EQ(*rendered.generation_spans, row["generation_spans"].get<Spans>());
    EXPECT_EQ(tokenizer.encode(rendered.text, false).ids, row["ids"].get<std::vector<int32_t>>());
  }
  EXPECT_GT(num_rendered, 20u);
}

INSTANTIATE_TEST_SUITE_P(AllTemplates, GoldenTemplate,
                         testing::Values("llama3", "llama3_training", "llama3_1", "llama3_2",
                                         "qwen2_5", "qwen2_5_training", "qwen3", "qwen3_training",
                                         "qwen3_instruct_2507", "qwen3_instruct_2507_training",
                                         "smollm2", "mistral", "mistral_tools", "dated"),
                         [](const auto& info) { return std::string(info.param); });

std::string render(const std::string& source, const Json& messages, const Json& extra = {}) {
  const TempFolder folder;
  return make_tokenizer(folder, "qwen2", source).render(messages, false, extra).text;
}

TEST(TemplateTest, TojsonWritesWhatPythonWrites) {
  const Json value = core::parse_json(
      R"({"b": [1, 2.5, 1e-7, 1e22, true, null], "a": "é\"\n\u0001</", "e": {}, "l": []})", "");
  const Json extra = {{"x", value}};
  EXPECT_EQ(render("{{ x | tojson }}", user(""), extra),
            "{\"b\": [1, 2.5, 1e-07, 1e+22, true, null], \"a\": \"é\\\"\\n\\u0001</\", \"e\": {}, "
            "\"l\": []}");
  EXPECT_EQ(render("{{ x.b[:2] | tojson(indent=2) }}", user(""), extra), "[\n  1,\n  2.5\n]");
  EXPECT_EQ(render("{{ x | tojson(sort_keys=true, ensure_ascii=true, separators=(',', ':')) }}",
                   user(""), extra),
            R"({"a":"\u00e9\"\n\u0001</","b":[1,2.5,1e-07,1e+22,true,null],"e":{},"l":[]})");
}

TEST(TemplateTest, PrintsValuesAsPythonDoes) {
  EXPECT_EQ(render("{{ true }} {{ none }} {{ 1e20 }} {{ [1, 'a'] }} {{ {'k': 0.5} }}", user("")),
            "True None 1e+20 [1, 'a'] {'k': 0.5}");
}

TEST(TemplateTest, NoneIsNotIterable) {
  EXPECT_EQ(
      render("{{ tools is iterable }} {{ [] is iterable }} {{ nothing is iterable }}", user("")),
      "False True True");
}

TEST(TemplateTest, SequenceIsWhatJinjaTakesForOne) {
  const Json extra = {{"m", {{"a", 1}}}, {"l", {1}}, {"n", nullptr}, {"i", 1}, {"b", true}};
  EXPECT_EQ(
      render("{% for x in [l, m, 'text', nothing, n, i, b] %}{{ x is sequence }} {% endfor %}",
             user(""), extra),
      "True True True True False False False ");
}

TEST(TemplateTest, TextHoldingAnyCharacterKeepsItsGenerationSpans) {
  const TempFolder folder;
  const Tokenizer tokenizer = make_tokenizer(
      folder, "qwen2",
      "{{ messages[0].content }}{% generation %}{{ messages[0].content }}{% endgeneration %}");
  const std::string text = "\xF3\xB0\x80\x80 \xEE\x80\x80 a";  // U+F0000, U+E000
  const Rendered rendered = tokenizer.render(user(text), false);
  EXPECT_EQ(rendered.text, text + text);
  ASSERT_TRUE(rendered.generation_spans.has_value());
  ASSERT_EQ(rendered.generation_spans->size(), 1u);
  EXPECT_EQ(rendered.generation_spans->at(0), std::make_pair(text.size(), 2 * text.size()));
}

struct BadTemplate {
  const char* name;
  const char* source;
  const char* message;
};

class RefusedTemplate : public testing::TestWithParam<BadTemplate> {};

TEST_P(RefusedTemplate, EndsSoonWithTheTemplateLine) {
  const auto start = std::chrono::steady_clock::now();
  const Failure failure = failure_of([&] { render(GetParam().source, user("hi")); });
  const auto seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  ASSERT_TRUE(failure.thrown);
  EXPECT_EQ(failure.kind, core::ErrorKind::kBadInput);
  EXPECT_NE(failure.message.find(GetParam().message), std::string::npos) << failure.message;
  EXPECT_LT(seconds, 10.0);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, RefusedTemplate,
    testing::Values(
        BadTemplate{"raises", "a\n{{ raise_exception('no tools here') }}",
                    "chat_template.jinja:2: the chat template failed"},
        BadTemplate{"says_why", "{{ raise_exception('no tools here') }}", "no tools here"},
        BadTemplate{
            "loops",
            "\n{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
            "{% endfor %}{% endfor %}{% endfor %}",
            "chat_template.jinja:2: the chat template failed: the template does too much work"},
        BadTemplate{"long_range", "{% for a in range(10**12) %}x{% endfor %}", "too many elements"},
        BadTemplate{"recursion", "{% macro f(x) %}{{ f(x) }}{% endmacro %}\n{{ f(1) }}",
                    "recursion"},
        BadTemplate{
            "doubling",
            "{% set n = namespace(s='abcdefgh') %}{% for i in range(60) %}\n"
            "{% set n.s = n.s ~ n.s %}{% endfor %}",
            "chat_template.jinja:2: the chat template failed: the template does too much work"},
        BadTemplate{
            "long_output",
            "{% set s = 'abcdefgh' * 100000 %}{% for i in range(90000) %}\n{{ s }}{% endfor %}",
            "more than 16 MiB"},
        BadTemplate{"repeat", "{{ 'a' * 10**12 }}", "too much work"},
        BadTemplate{"host_object", "{{ ''.__class__.__mro__ }}", "undefined"},
        BadTemplate{"no_filter", "\n\n{{ 'a' | nonesuch }}", "chat_template.jinja:3"},
        BadTemplate{"syntax", "\n{% for %}",
                    "chat_template.jinja:2: the chat template can't be compiled"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(TemplateTest, StrftimeNowReadsTheFixedClock) {
  const FixedClock clock("1767225600");
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y') }}", user("")), "01 Jan 2026");
}

}  // namespace
}  // namespace hone::data
