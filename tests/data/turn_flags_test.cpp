// Which turns a row says to train or not, and what goes to the template beside the messages.
#include "tests/data/support.h"

namespace hone::data {
namespace {

class TurnFlagsTest : public testing::Test {
 protected:
  TokenCache prepare(const Json& row, const Tokenizer& tokenizer,
                     RowFormat format = RowFormat::kMessages) {
    // A second row that is always whole: flags may leave a row without anything trained.
    const Json turns = Json::array(
        {{{"role", "user"}, {"content", "x"}}, {{"role", "assistant"}, {"content", "y"}}});
    const Json other =
        format == RowFormat::kShareGpt
            ? Json{{"conversations",
                    {{{"from", "human"}, {"value", "x"}}, {{"from", "gpt"}, {"value", "y"}}}}}
        : format == RowFormat::kPromptCompletion ? Json{{"prompt", "x"}, {"completion", "y"}}
                                                 : Json{{"messages", turns}};
    const DatasetSource source{
        .path = folder_.write("rows.jsonl", row.dump() + "\n" + other.dump() + "\n"),
        .format = format};
    return prepare_dataset({source}, options_, tokenizer, folder_.path() / "cache");
  }
  std::string trained(const Json& row, const Tokenizer& tokenizer,
                      RowFormat format = RowFormat::kMessages) {
    return trained_text(prepare(row, tokenizer, format).row(0), tokenizer);
  }
  std::string refusal(const Json& row, const Tokenizer& tokenizer) {
    const Failure failure = failure_of([&] { prepare(row, tokenizer); });
    EXPECT_EQ(failure.kind, core::ErrorKind::kBadInput);
    return failure.message;
  }

  TempFolder folder_;
  DatasetOptions options_{.assistant_only_loss = true};
};

Json turn(const std::string& role, const std::string& content, const Json& flags = Json::object()) {
  Json message = {{"role", role}, {"content", content}};
  if (!flags.is_null()) message.update(flags);
  return message;
}

Json two_turns(const Json& first, const Json& second, const Json& question = Json::object()) {
  return {{"messages",
           {turn("user", "A", question), turn("assistant", "one", first), turn("user", "B"),
            turn("assistant", "two", second)}}};
}

TEST_F(TurnFlagsTest, FalseLeavesTheTurnOut) {
  const Tokenizer tokenizer = make_chatml(folder_);
  for (const Json& off : {Json{{"train", false}}, Json{{"weight", 0}}, Json{{"weight", 0.0}}}) {
    EXPECT_EQ(trained(two_turns(off, {}), tokenizer), "two<|im_end|>\n") << off;
    EXPECT_EQ(trained(two_turns({{"train", true}}, off), tokenizer), "one<|im_end|>\n") << off;
  }
}

TEST_F(TurnFlagsTest, FlagsDoNotReachTheTemplate) {
  const TempFolder model;
  const Tokenizer tokenizer =
      make_tokenizer(model, "qwen2",
                     "{% for m in messages %}{{ m | tojson }}{% if m.role == 'assistant' %}"
                     "{% generation %}x<|im_end|>{% endgeneration %}{% endif %}{% endfor %}");
  options_.assistant_only_loss = false;
  const TokenCache cache =
      prepare(two_turns({{"train", true}}, {{"weight", 1}, {"train", nullptr}}), tokenizer);
  const std::string text = row_text(cache.row(0), tokenizer);
  EXPECT_EQ(text.find("train"), std::string::npos) << text;
  EXPECT_EQ(text.find("weight"), std::string::npos) << text;
}

TEST_F(TurnFlagsTest, GenerationSpansFollowTheFlags) {
  const TempFolder model;
  const Tokenizer tokenizer = make_tokenizer(model, "qwen2", golden_template("qwen2_5_training"));
  EXPECT_EQ(trained(two_turns({{"train", false}}, {}), tokenizer), "\ntwo<|im_end|>\n");
  EXPECT_EQ(trained(two_turns({}, {{"train", false}}), tokenizer), "\none<|im_end|>\n");
  EXPECT_EQ(trained(two_turns({}, {}, {{"train", true}}), tokenizer),
            "A<|im_end|>\n|\none<|im_end|>\n|\ntwo<|im_end|>\n");
}

TEST_F(TurnFlagsTest, TrueTrainsWhoeverSpeaksFromItsContentOn) {
  const Tokenizer tokenizer = make_chatml(folder_);
  EXPECT_EQ(trained(two_turns({}, {}, {{"train", true}}), tokenizer),
            "A<|im_end|>\n|one<|im_end|>\n|two<|im_end|>\n");
}

TEST_F(TurnFlagsTest, WholeConversationsLoseTheTurnWithItsHeader) {
  const Tokenizer tokenizer = make_chatml(folder_);
  options_.assistant_only_loss = false;
  const std::string text = trained(two_turns({{"train", false}}, {}), tokenizer);
  EXPECT_NE(text.find("user\nA<|im_end|>\n|<|im_start|>user\nB"), std::string::npos) << text;
}

TEST_F(TurnFlagsTest, TemplateThatRewritesHistoryStillSkipsTurns) {
  const TempFolder model;
  const Tokenizer tokenizer = make_tokenizer(model, "qwen2", golden_template("qwen3"));
  const Json thinking = {{"reasoning_content", "hm"}};
  Json first = thinking;
  first["train"] = false;
  const TokenCache cache = prepare(two_turns(first, thinking), tokenizer);
  ASSERT_EQ(cache.num_rows(), 2);
  EXPECT_NE(trained_text(cache.row(0), tokenizer).find("two<|im_end|>"), std::string::npos);
  EXPECT_EQ(trained_text(cache.row(0), tokenizer).find("one"), std::string::npos);
}

TEST_F(TurnFlagsTest, ShareGptTurnsHaveThemToo) {
  const Tokenizer tokenizer = make_chatml(folder_);
  const Json row = {{"conversations",
                     {{{"from", "human"}, {"value", "A"}},
                      {{"from", "gpt"}, {"value", "one"}, {"weight", 0}},
                      {{"from", "human"}, {"value", "B"}},
                      {{"from", "gpt"}, {"value", "two"}, {"train", true}}}}};
  EXPECT_EQ(trained(row, tokenizer, RowFormat::kShareGpt), "two<|im_end|>\n");
}

TEST_F(TurnFlagsTest, CompletionsOfMessagesFollowThem) {
  const Tokenizer tokenizer = make_chatml(folder_);
  const Json row = {{"prompt", {turn("user", "A")}},
                    {"completion",
                     {turn("assistant", "one", {{"train", false}}), turn("user", "B"),
                      turn("assistant", "two")}}};
  const std::string text = trained(row, tokenizer, RowFormat::kPromptCompletion);
  EXPECT_EQ(text, "<|im_start|>user\nB<|im_end|>\n<|im_start|>assistant\ntwo<|im_end|>\n");
}

TEST_F(TurnFlagsTest, SystemPromptOfTheRecipeMovesNoFlag) {
  const Tokenizer tokenizer = make_chatml(folder_);
  options_.system_prompt = "Be short.";
  EXPECT_EQ(trained(two_turns({{"train", false}}, {}), tokenizer), "two<|im_end|>\n");
}

TEST_F(TurnFlagsTest, WrongFlagsAreNamed) {
  const Tokenizer tokenizer = make_chatml(folder_);
  const auto expect_named = [&](const Json& flags, const std::string& part) {
    const std::string message = refusal(two_turns(flags, {}), tokenizer);
    EXPECT_NE(message.find("rows.jsonl:1"), std::string::npos) << message;
    EXPECT_NE(message.find("messages[1]: " + part), std::string::npos) << message;
  };
  expect_named({{"train", "yes"}}, "train");
  expect_named({{"train", 1}}, "train");
  expect_named({{"weight", 0.5}}, "weight");
  expect_named({{"weight", true}}, "weight");
  expect_named({{"train", true}, {"weight", 0}}, "train and weight disagree");
}

TEST_F(TurnFlagsTest, ToolsAndDocumentsMayBeListsOrTheirJson) {
  const TempFolder model;
  const Tokenizer tokenizer =
      make_tokenizer(model, "qwen2",
                     "{% if tools %}{{ tools[0].name }} {{ documents[0].text }} {{ mood }}{% endif "
                     "%}{{ eos_token }}");
  options_.assistant_only_loss = false;
  const Json tools = Json::array({{{"name", "find"}}}),
             documents = Json::array({{{"text", "doc"}}});
  for (const bool as_text : {false, true}) {
    Json row = two_turns({}, {});
    row["tools"] = as_text ? Json(tools.dump()) : tools;
    row["documents"] = as_text ? Json(documents.dump()) : documents;
    row["chat_template_kwargs"] = {{"mood", "calm"}};
    EXPECT_EQ(row_text(prepare(row, tokenizer).row(0), tokenizer), "find doc calm<|im_end|>");
  }
  Json bad = two_turns({}, {});
  bad["documents"] = Json::array({"text"});
  EXPECT_NE(refusal(bad, tokenizer).find("documents"), std::string::npos);
}

TEST_F(TurnFlagsTest, ReasoningStandsWhereTransformersPutsIt) {
  const TempFolder model;
  const Tokenizer tokenizer =
      make_tokenizer(model, "qwen2", "{% for m in messages %}{{ m | tojson }}\n{% endfor %}");
  const auto rendered = [&](const Json& message) {
    return tokenizer.render(Json::array({message}), false).text;
  };
  EXPECT_EQ(rendered({{"role", "assistant"}, {"content", "4"}, {"reasoning", "r"}}),
            "{\"thinking\": \"r\", \"role\": \"assistant\", \"content\": \"4\", \"reasoning\": "
            "\"r\", \"reasoning_content\": \"r\"}\n");
  EXPECT_EQ(rendered({{"role", "assistant"}, {"thinking", "t"}, {"reasoning_content", nullptr}}),
            "{\"thinking\": \"t\", \"role\": \"assistant\", \"reasoning_content\": \"t\"}\n");
}

}  // namespace
}  // namespace hone::data
