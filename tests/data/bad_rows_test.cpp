#include "tests/data/support.h"

namespace hone::data {
namespace {

using core::ErrorKind;

struct BadRow {
  const char* name;
  RowFormat format;
  const char* row;
  const char* message;
};

class BadRowTest : public testing::TestWithParam<BadRow> {
 protected:
  BadRowTest() : tokenizer_(make_chatml(folder_)) {}
  TempFolder folder_;
  Tokenizer tokenizer_;
};

TEST_P(BadRowTest, NamesFileLineAndReason) {
  const std::string good =
      R"({"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "b"}], )"
      R"("conversations": [{"from": "human", "value": "A"}], "instruction": "i", "output": "o", )"
      R"("prompt": "p", "completion": "c", "text": "t"})";
  const DatasetSource source{
      .path = folder_.write("rows.jsonl", good + "\n\n" + GetParam().row + "\n" + good),
      .format = GetParam().format};
  const Failure failure =
      failure_of([&] { prepare_dataset({source}, {}, tokenizer_, folder_.path() / "cache"); });
  ASSERT_TRUE(failure.thrown);
  EXPECT_EQ(failure.kind, ErrorKind::kBadInput);
  EXPECT_NE(failure.message.find("rows.jsonl:3: "), std::string::npos) << failure.message;
  EXPECT_NE(failure.message.find(GetParam().message), std::string::npos) << failure.message;
  EXPECT_NE(failure.message.find("row: "), std::string::npos) << failure.message;

  // The same row is left out, and counted, when the recipe says so.
  const TokenCache cache = prepare_dataset({source}, {.on_bad_row = BadRowPolicy::kSkip},
                                           tokenizer_, folder_.path() / "cache");
  EXPECT_EQ(cache.num_rows(), 2);
  EXPECT_EQ(cache.totals().num_bad_rows, 1);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, BadRowTest,
    testing::Values(
        BadRow{"cut_json", RowFormat::kText, R"({"text": "abc)", "not valid JSON at byte"},
        BadRow{"not_utf8", RowFormat::kText, "{\"text\": \"a\xFF\"}", "not valid JSON"},
        BadRow{"duplicate_key", RowFormat::kText, R"({"text": "a", "text": "b"})",
               "duplicate key \"text\""},
        BadRow{"not_an_object", RowFormat::kText, "[1]", "row is not an object"},
        BadRow{"missing_column", RowFormat::kText, R"({"txt": "a"})",
               "no column \"text\": got columns txt"},
        BadRow{"null_column", RowFormat::kText, R"({"text": null})", "no column \"text\""},
        BadRow{"wrong_type", RowFormat::kText, R"({"text": 3})",
               "column \"text\": got number, expected a string"},
        BadRow{"no_messages", RowFormat::kMessages, R"({"messages": []})", "has no messages"},
        BadRow{"no_role", RowFormat::kMessages, R"({"messages": [{"content": "x"}]})",
               "messages[0]: no role"},
        BadRow{"no_content", RowFormat::kMessages, R"({"messages": [{"role": "user"}]})",
               "messages[0]: no content"},
        BadRow{"content_number", RowFormat::kMessages,
               R"({"messages": [{"role": "user", "content": 5}]})",
               "expected a string or a list of parts"},
        BadRow{"unknown_speaker", RowFormat::kShareGpt,
               R"({"conversations": [{"from": "alien", "value": "x"}]})",
               "unknown speaker: got \"alien\""},
        BadRow{"no_value", RowFormat::kShareGpt, R"({"conversations": [{"from": "human"}]})",
               "no \"value\""},
        BadRow{"alpaca_no_output", RowFormat::kAlpaca, R"({"instruction": "x"})",
               "no column \"output\""},
        BadRow{"mixed_kinds", RowFormat::kPromptCompletion,
               R"({"prompt": "x", "completion": [{"role": "assistant", "content": "y"}]})",
               "of one kind"}),
    [](const auto& info) { return std::string(info.param.name); });

class BadDatasetTest : public testing::Test {
 protected:
  Failure refused(const std::string& rows, RowFormat format, const Tokenizer& tokenizer,
                  DatasetOptions options = {}, const std::string& file = "rows.jsonl") {
    const DatasetSource source{
        .path = folder_.write(file, rows), .format = format, .where = "recipe.yaml:9"};
    return failure_of(
        [&] { prepare_dataset({source}, options, tokenizer, folder_.path() / "cache"); });
  }
  TempFolder folder_;
};

constexpr const char* kChat =
    R"({"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "b"}]})";

TEST_F(BadDatasetTest, TemplateThatRaisesNamesRowAndTemplateLine) {
  const Tokenizer tokenizer =
      make_tokenizer(folder_, "qwen2", "\n{{ raise_exception('roles must alternate') }}");
  const Failure failure = refused(kChat, RowFormat::kMessages, tokenizer);
  EXPECT_EQ(failure.kind, ErrorKind::kBadInput);
  EXPECT_NE(failure.message.find("rows.jsonl:1: "), std::string::npos);
  EXPECT_NE(failure.message.find("chat_template.jinja:2: "), std::string::npos);
  EXPECT_NE(failure.message.find("roles must alternate"), std::string::npos);
}

TEST_F(BadDatasetTest, EmptyFile) {
  const Failure failure = refused("\n \n", RowFormat::kMessages, make_chatml(folder_));
  EXPECT_EQ(failure.kind, ErrorKind::kBadInput);
  EXPECT_NE(failure.message.find("the dataset has no rows"), std::string::npos);
}

TEST_F(BadDatasetTest, AllRowsSkippedNamesTheFirst) {
  const Failure failure = refused("x\ny\n", RowFormat::kMessages, make_chatml(folder_),
                                  {.on_bad_row = BadRowPolicy::kSkip});
  EXPECT_EQ(failure.kind, ErrorKind::kBadInput);
  EXPECT_NE(failure.message.find("all were skipped; the first: "), std::string::npos);
  EXPECT_NE(failure.message.find("rows.jsonl:1"), std::string::npos);
}

TEST_F(BadDatasetTest, NothingTrained) {
  const Failure failure =
      refused(R"({"messages": [{"role": "user", "content": "A"}]})", RowFormat::kMessages,
              make_chatml(folder_), {.assistant_only_loss = true});
  EXPECT_EQ(failure.kind, ErrorKind::kBadInput);
  EXPECT_NE(failure.message.find("every label is masked"), std::string::npos);
}

TEST_F(BadDatasetTest, NoEndOfTurnAmongTheTrained) {
  const char* source = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
  const Failure failure =
      refused(kChat, RowFormat::kMessages, make_tokenizer(folder_, "qwen2", source),
              {.assistant_only_loss = true});
  EXPECT_EQ(failure.kind, ErrorKind::kBadInput);
  EXPECT_NE(failure.message.find("no end-of-turn token"), std::string::npos);
}

TEST_F(BadDatasetTest, EndOfTurnIsJudgedBeforeTruncation) {
  Json messages = {{{"role", "user"}, {"content", "A"}},
                   {{"role", "assistant"}, {"content", std::string(300, 'x')}}};
  const Failure failure =
      refused(Json{{"messages", messages}}.dump(), RowFormat::kMessages, make_chatml(folder_),
              {.max_length = 200, .assistant_only_loss = true});
  EXPECT_FALSE(failure.thrown) << failure.message;
}

TEST_F(BadDatasetTest, BosTwice) {
  const Tokenizer tokenizer = make_tokenizer(folder_, "llama2", "");
  const Failure failure = refused(R"({"text": "<s>hello"})", RowFormat::kText, tokenizer);
  EXPECT_EQ(failure.kind, ErrorKind::kBadInput);
  EXPECT_NE(failure.message.find("BOS token twice"), std::string::npos);
}

TEST_F(BadDatasetTest, ConversationsWithoutTemplate) {
  const Failure failure =
      refused(kChat, RowFormat::kMessages, make_tokenizer(folder_, "qwen2", ""));
  EXPECT_EQ(failure.kind, ErrorKind::kBadInput);
  EXPECT_NE(failure.message.find("recipe.yaml:9: conversations need a chat template"),
            std::string::npos);
}

TEST_F(BadDatasetTest, CutOffJsonArray) {
  const Tokenizer tokenizer = make_tokenizer(folder_, "llama2", "");
  for (const char* text : {"[{\"text\": \"a\"},\n{\"text\": \"b\"", "[{\"text\": \"a\"},",
                           "[{\"text\": \"a\"}\n", "["}) {
    const Failure failure = refused(text, RowFormat::kText, tokenizer, {}, "rows.json");
    EXPECT_EQ(failure.kind, ErrorKind::kBadInput);
    EXPECT_NE(failure.message.find("the JSON array is cut off"), std::string::npos)
        << failure.message;
    EXPECT_NE(failure.message.find("rows.json:"), std::string::npos);
  }
  const Failure failure =
      refused("[{\"text\": \"a\"}] x", RowFormat::kText, tokenizer, {}, "rows.json");
  EXPECT_NE(failure.message.find("text after the end"), std::string::npos);
}

TEST_F(BadDatasetTest, RowOverSixteenMebibytes) {
  const Tokenizer tokenizer = make_tokenizer(folder_, "llama2", "");
  const Failure failure =
      refused("{\"text\": \"a\"}\n{\"text\": \"" + std::string(17 << 20, 'x') + "\"}",
              RowFormat::kText, tokenizer);
  EXPECT_EQ(failure.kind, ErrorKind::kBadInput);
  EXPECT_NE(failure.message.find("rows.jsonl:2: row is too long"), std::string::npos);
}

TEST_F(BadDatasetTest, MissingPath) {
  const DatasetSource source{.path = folder_.path() / "nowhere.jsonl", .where = "recipe.yaml:9"};
  const Tokenizer tokenizer = make_chatml(folder_);
  const Failure failure =
      failure_of([&] { prepare_dataset({source}, {}, tokenizer, folder_.path() / "cache"); });
  EXPECT_EQ(failure.kind, ErrorKind::kMissingInput);
  EXPECT_NE(failure.message.find("recipe.yaml:9"), std::string::npos);
  EXPECT_NE(failure.message.find("nowhere.jsonl"), std::string::npos);
}

}  // namespace
}  // namespace hone::data
