#include "data/dataset.h"

#include "tests/data/support.h"

namespace hone::data {
namespace {

using core::ErrorKind;

// Rows in one file, prepared with a golden tokenizer.
class DatasetTest : public testing::Test {
 protected:
  TokenCache prepare(const std::string& rows, RowFormat format, const Tokenizer& tokenizer,
                     const std::string& file = "rows.jsonl") {
    source_.path = folder_.write(file, rows);
    source_.format = format;
    return prepare_dataset({source_}, options_, tokenizer, folder_.path() / "cache");
  }
  Failure refused(const std::string& rows, RowFormat format, const Tokenizer& tokenizer,
                  const std::string& file = "rows.jsonl") {
    return failure_of([&] { prepare(rows, format, tokenizer, file); });
  }

  TempFolder folder_;
  DatasetSource source_;
  DatasetOptions options_;
};

constexpr const char* kTwoTurns =
    R"({"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "one"}, )"
    R"({"role": "user", "content": "B"}, {"role": "assistant", "content": "two"}]})"
    "\n";

TEST_F(DatasetTest, TrainsAssistantTurnsWithTheirEndByPrefixRendering) {
  const Tokenizer tokenizer = make_chatml(folder_);
  options_.assistant_only_loss = true;
  const TokenCache cache = prepare(kTwoTurns, RowFormat::kMessages, tokenizer);
  ASSERT_EQ(cache.num_rows(), 1);
  EXPECT_EQ(trained_text(cache.row(0), tokenizer), "one<|im_end|>\n|two<|im_end|>\n");
  EXPECT_EQ(cache.num_row_trained(0), cache.totals().num_trained_tokens);
}

TEST_F(DatasetTest, GenerationSpansAndPrefixRenderingAgree) {
  const TempFolder other;
  const Tokenizer prefix = make_tokenizer(folder_, "llama3", golden_template("llama3"));
  const Tokenizer spans = make_tokenizer(other, "llama3", golden_template("llama3_training"));
  options_.assistant_only_loss = true;
  const TokenCache a = prepare(kTwoTurns, RowFormat::kMessages, prefix);
  const TokenCache b = prepare(kTwoTurns, RowFormat::kMessages, spans);
  EXPECT_NE(a.key(), b.key());
  EXPECT_TRUE(std::ranges::equal(a.row(0).ids, b.row(0).ids));
  EXPECT_TRUE(std::ranges::equal(a.row(0).trained, b.row(0).trained));
}

TEST_F(DatasetTest, MasksEqualTransformersAssistantMasks) {
  for (const char* name : {"qwen2_5_training", "qwen3_training", "llama3_training"}) {
    const TempFolder model;
    const std::string kind = core::read_json_file(golden_text() / "templates.json")[name];
    const Tokenizer tokenizer = make_tokenizer(model, kind, golden_template(name));
    options_.assistant_only_loss = true;
    const Json chats = core::read_json_file(golden_text() / "chats.json");
    for (const Json& row :
         core::read_json_file(golden_text() / "rendered" / (std::string(name) + ".json"))) {
      const Json& chat = chats[row["chat"].get<size_t>()];
      const auto mask = row.value("assistant_mask", std::vector<uint8_t>{});
      const bool plain = std::ranges::all_of(chat["messages"], [](const Json& m) {
        return m.contains("role") && m.contains("content") && m["content"].is_string();
      });
      const bool trained = std::ranges::count(mask, 1) > 0 && chat["extra"].empty() && plain;
      if (row["add_generation_prompt"] || row.contains("refuses") || !trained) continue;
      SCOPED_TRACE(std::string(name) + ": " + chat["name"].dump());
      const Json line = {{"messages", chat["messages"]}};
      const TokenCache cache = prepare(line.dump(), RowFormat::kMessages, tokenizer);
      ASSERT_EQ(cache.num_rows(), 1);
      EXPECT_TRUE(std::ranges::equal(cache.row(0).trained, mask));
    }
  }
}

TEST_F(DatasetTest, TemplateThatRewritesHistoryIsTrainedTurnByTurn) {
  const Tokenizer tokenizer = make_tokenizer(folder_, "qwen2", golden_template("qwen3"));
  options_.assistant_only_loss = true;
  const TokenCache cache = prepare(kTwoTurns, RowFormat::kMessages, tokenizer);
  ASSERT_EQ(cache.num_rows(), 2);
  EXPECT_EQ(cache.totals().num_split_rows, 1);
  EXPECT_EQ(trained_text(cache.row(0), tokenizer), "<think>\n\n</think>\n\none<|im_end|>\n");
  EXPECT_EQ(trained_text(cache.row(1), tokenizer), "<think>\n\n</think>\n\ntwo<|im_end|>\n");
}

TEST_F(DatasetTest, GenerationPromptThatDiffersFromTheReplyIsFoundByTwoRenders) {
  const Tokenizer tokenizer =
      make_tokenizer(folder_, "qwen2",
                     "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim "
                     "}}<|im_end|>\n{% endfor %}"
                     "{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}");
  options_.assistant_only_loss = true;
  const TokenCache cache = prepare(kTwoTurns, RowFormat::kMessages, tokenizer);
  EXPECT_EQ(trained_text(cache.row(0), tokenizer), "one<|im_end|>\n|two<|im_end|>\n");
}

TEST_F(DatasetTest, TemplateThatHidesTheReplyIsRefused) {
  const Tokenizer tokenizer = make_tokenizer(
      folder_, "qwen2",
      "{{ messages | length }}{% if add_generation_prompt %}assistant:{% endif %}<|im_end|>");
  options_.assistant_only_loss = true;
  const Failure failure = refused(kTwoTurns, RowFormat::kMessages, tokenizer);
  EXPECT_EQ(failure.kind, ErrorKind::kBadInput);
  EXPECT_NE(failure.message.find("rows.jsonl:1: can't tell where the reply"), std::string::npos)
      << failure.message;
}

TEST_F(DatasetTest, TrainsAllTokensWithoutAssistantOnlyLoss) {
  const Tokenizer tokenizer = make_chatml(folder_);
  const TokenCache cache = prepare(kTwoTurns, RowFormat::kMessages, tokenizer);
  EXPECT_EQ(trained_text(cache.row(0), tokenizer), row_text(cache.row(0), tokenizer));
  EXPECT_EQ(cache.num_row_trained(0), cache.num_row_tokens(0) - 1);
}

TEST_F(DatasetTest, ShareGptEqualsMessages) {
  const Tokenizer tokenizer = make_chatml(folder_);
  options_.assistant_only_loss = true;
  const TokenCache messages = prepare(
      R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "A"}, {"role": "assistant", "content": "one"}]})",
      RowFormat::kMessages, tokenizer);
  const TokenCache sharegpt = prepare(
      R"({"system": "S", "conversations": [{"from": "human", "value": "A"}, {"from": "gpt", "value": "one"}]})",
      RowFormat::kShareGpt, tokenizer);
  EXPECT_TRUE(std::ranges::equal(messages.row(0).ids, sharegpt.row(0).ids));
  EXPECT_EQ(trained_text(sharegpt.row(0), tokenizer), "one<|im_end|>\n");
}

TEST_F(DatasetTest, AlpacaGoesThroughTheChatTemplate) {
  const Tokenizer tokenizer = make_chatml(folder_);
  const TokenCache cache = prepare(R"({"instruction": "Add", "input": "1 2", "output": "3"})",
                                   RowFormat::kAlpaca, tokenizer);
  EXPECT_NE(row_text(cache.row(0), tokenizer).find("user\nAdd\n\n1 2<|im_end|>"),
            std::string::npos);
  EXPECT_EQ(trained_text(cache.row(0), tokenizer), "3<|im_end|>\n");
}

TEST_F(DatasetTest, AlpacaWithoutTemplateUsesThePublishedPrompts) {
  const Tokenizer tokenizer = make_tokenizer(folder_, "qwen2", "");
  const TokenCache cache = prepare(R"({"instruction": "Add", "input": "1 2", "output": "3"})"
                                   "\n"
                                   R"({"instruction": "Add", "input": "", "output": "4"})",
                                   RowFormat::kAlpaca, tokenizer);
  const std::string eos = tokenizer.decode({*tokenizer.eos_token_id()}, false);
  EXPECT_EQ(row_text(cache.row(0), tokenizer),
            "Below is an instruction that describes a task, paired with an input that provides "
            "further context. Write "
            "a response that appropriately completes the request.\n\n### Instruction:\nAdd\n\n### "
            "Input:\n1 2\n\n"
            "### Response:\n3" +
                eos);
  EXPECT_EQ(row_text(cache.row(1), tokenizer),
            "Below is an instruction that describes a task. Write a response that appropriately "
            "completes the "
            "request.\n\n### Instruction:\nAdd\n\n### Response:\n4" +
                eos);
  EXPECT_EQ(trained_text(cache.row(1), tokenizer), "4" + eos);
}

TEST_F(DatasetTest, PromptCompletionTrainsTheCompletionAndEos) {
  const Tokenizer tokenizer = make_tokenizer(folder_, "llama2", "");
  const std::string row = R"({"prompt": "Say hi: ", "completion": "hi"})";
  const TokenCache cache = prepare(row, RowFormat::kPromptCompletion, tokenizer);
  EXPECT_EQ(cache.row(0).ids[0], tokenizer.bos_token_id());
  EXPECT_EQ(cache.row(0).ids.back(), tokenizer.eos_token_id());
  EXPECT_EQ(trained_text(cache.row(0), tokenizer), "hi</s>");
  options_.completion_only_loss = false;
  const TokenCache all = prepare(row, RowFormat::kPromptCompletion, tokenizer);
  EXPECT_EQ(all.num_row_trained(0), all.num_row_tokens(0) - 1);
}

TEST_F(DatasetTest, PromptCompletionMayBeConversations) {
  const Tokenizer tokenizer = make_chatml(folder_);
  const TokenCache cache = prepare(
      R"({"prompt": [{"role": "user", "content": "A"}], "completion": [{"role": "assistant", "content": "one"}]})",
      RowFormat::kPromptCompletion, tokenizer);
  EXPECT_EQ(trained_text(cache.row(0), tokenizer), "one<|im_end|>\n");
}

TEST_F(DatasetTest, TextRowsEndWithOneEos) {
  const Tokenizer tokenizer = make_tokenizer(folder_, "llama2", "");
  const TokenCache cache =
      prepare("{\"text\": \"hello\"}\n\n{\"text\": \"hello</s>\"}\n", RowFormat::kText, tokenizer);
  ASSERT_EQ(cache.num_rows(), 2);
  EXPECT_TRUE(std::ranges::equal(cache.row(0).ids, cache.row(1).ids));
  EXPECT_EQ(cache.row(0).ids.back(), tokenizer.eos_token_id());
}

TEST_F(DatasetTest, JsonArraysColumnsMaxRowsAndSystemPrompt) {
  const Tokenizer tokenizer = make_chatml(folder_);
  source_.columns = {{"messages", "dialog"}};
  source_.max_rows = 2;
  options_.system_prompt = "Be kind.";
  const std::string row =
      R"({"dialog": [{"role": "user", "content": "a]}\",[{"}, {"role": "assistant", "content": "b"}]})";
  const TokenCache cache = prepare("\n[ " + row + ",\n" + row + " , " + row + "]\n",
                                   RowFormat::kMessages, tokenizer, "rows.json");
  ASSERT_EQ(cache.num_rows(), 2);
  EXPECT_TRUE(
      row_text(cache.row(1), tokenizer).starts_with("<|im_start|>system\nBe kind.<|im_end|>\n"));
}

TEST_F(DatasetTest, FolderGivesTheFilesOfTheSplit) {
  const Tokenizer tokenizer = make_tokenizer(folder_, "llama2", "");
  for (const char* name :
       {"set/data/train-00000-of-00002.jsonl", "set/data/train-00001-of-00002.jsonl",
        "set/data/test-00000-of-00001.jsonl"}) {
    folder_.write(name, std::string(R"({"text": ")") + name + "\"}");
  }
  source_ = {.path = folder_.path() / "set",
             .format = RowFormat::kText,
             .split = "train",
             .where = "recipe.yaml:3"};
  EXPECT_EQ(prepare_dataset({source_}, options_, tokenizer, folder_.path() / "cache").num_rows(),
            2);
  source_.split = "test";
  EXPECT_EQ(prepare_dataset({source_}, options_, tokenizer, folder_.path() / "cache").num_rows(),
            1);
  source_.split = "validation";
  const Failure failure = failure_of(
      [&] { prepare_dataset({source_}, options_, tokenizer, folder_.path() / "cache"); });
  EXPECT_EQ(failure.kind, ErrorKind::kMissingInput);
  EXPECT_NE(failure.message.find("recipe.yaml:3"), std::string::npos);
  EXPECT_NE(failure.message.find("test, train"), std::string::npos) << failure.message;
}

TEST_F(DatasetTest, CutsLongRowsAndCountsThem) {
  const Tokenizer tokenizer = make_chatml(folder_);
  options_.assistant_only_loss = true;
  options_.max_length = 200;
  Json messages = {{{"role", "user"}, {"content", "A"}},
                   {{"role", "assistant"}, {"content", std::string(400, 'x')}}};
  const std::string long_row = Json{{"messages", messages}}.dump();
  messages[0]["content"] = std::string(400, 'y');
  const std::string masked_row = Json{{"messages", messages}}.dump();
  const TokenCache cache = prepare(long_row + "\n" + masked_row, RowFormat::kMessages, tokenizer);
  EXPECT_EQ(cache.num_row_tokens(0), 200);
  EXPECT_EQ(cache.totals().num_truncated_rows, 2);
  EXPECT_EQ(cache.totals().num_untrained_rows, 1);
  EXPECT_GT(cache.totals().num_truncated_tokens, 0);
  EXPECT_EQ(cache.num_row_trained(1), 0);
}

TEST_F(DatasetTest, ManyRowsKeepTheirOrder) {
  const Tokenizer tokenizer = make_tokenizer(folder_, "llama2", "");
  std::string rows;
  for (int i = 0; i < 1000; ++i) rows += "{\"text\": \"number " + std::to_string(i) + "\"}\n";
  double last = 0;
  source_.path = folder_.write("rows.jsonl", rows);
  source_.format = RowFormat::kText;
  const TokenCache cache = prepare_dataset({source_}, options_, tokenizer, folder_.path() / "cache",
                                           [&](double fraction) {
                                             EXPECT_GT(fraction, last);
                                             last = fraction;
                                           });
  EXPECT_EQ(last, 1.0);
  ASSERT_EQ(cache.num_rows(), 1000);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(row_text(cache.row(i), tokenizer), "<s> number " + std::to_string(i) + "</s>");
  }
}

}  // namespace
}  // namespace hone::data
