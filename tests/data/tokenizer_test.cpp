#include "data/tokenizer.h"

#include "tests/data/support.h"

namespace hone::data {
namespace {

class GoldenTokenizer : public testing::TestWithParam<const char*> {};

TEST_P(GoldenTokenizer, GivesTheIdsOffsetsAndTextsOfTransformers) {
  const std::string name = GetParam();
  const Tokenizer tokenizer = Tokenizer::load(golden_text() / "tokenizers" / name);
  const Json texts = core::read_json_file(golden_text() / "texts.json");
  const Json rows = core::read_json_file(golden_text() / "encodings" / (name + ".json"));
  ASSERT_EQ(texts.size(), rows.size());
  ASSERT_GT(texts.size(), 100u);
  for (size_t i = 0; i < rows.size(); ++i) {
    SCOPED_TRACE(texts[i].dump());
    const Encoding plain = tokenizer.encode(texts[i].get<std::string>(), false);
    EXPECT_EQ(plain.ids, rows[i]["ids"].get<std::vector<int32_t>>());
    std::vector<uint32_t> offsets;
    for (const auto& [begin, end] : plain.offsets) offsets.insert(offsets.end(), {begin, end});
    EXPECT_EQ(offsets, rows[i]["offsets"].get<std::vector<uint32_t>>());
    const auto special_ids = rows[i].value("ids_special", plain.ids);
    EXPECT_EQ(tokenizer.encode(texts[i].get<std::string>(), true).ids, special_ids);
    const auto decoded = rows[i]["decoded"].get<std::string>();
    EXPECT_EQ(tokenizer.decode(special_ids, false), decoded);
    EXPECT_EQ(tokenizer.decode(special_ids, true), rows[i].value("decoded_skip", decoded));
  }
}

INSTANTIATE_TEST_SUITE_P(AllKinds, GoldenTokenizer,
                         testing::Values("smollm", "qwen2", "llama3", "llama2", "mistral"),
                         [](const auto& info) { return std::string(info.param); });

TEST(TokenizerTest, KnowsSpecialTokensAndVocabulary) {
  const Tokenizer tokenizer = Tokenizer::load(golden_text() / "tokenizers/llama2");
  EXPECT_EQ(tokenizer.bos_token_id(), tokenizer.token_id("<s>"));
  EXPECT_EQ(tokenizer.eos_token_id(), tokenizer.token_id("</s>"));
  EXPECT_TRUE(tokenizer.is_special(*tokenizer.token_id("</s>")));
  EXPECT_FALSE(tokenizer.is_special(352));
  EXPECT_EQ(tokenizer.token_id("no such token"), std::nullopt);
  EXPECT_GT(tokenizer.vocab_size(), 352);
  EXPECT_FALSE(tokenizer.has_chat_template());
}

TEST(TokenizerTest, FingerprintFollowsTokenizerAndTemplate) {
  const TempFolder a, b, c;
  const Tokenizer one = make_tokenizer(a, "qwen2", "{{ messages[0].content }}");
  const Tokenizer same = make_tokenizer(b, "qwen2", "{{ messages[0].content }}");
  const Tokenizer other = make_tokenizer(c, "qwen2", "{{ messages[0].content }}!");
  EXPECT_EQ(one.fingerprint(), same.fingerprint());
  EXPECT_NE(one.fingerprint(), other.fingerprint());
}

TEST(TokenizerTest, FindsTheTemplateInTheOlderPlaces) {
  const Json messages = {{{"role", "user"}, {"content", "hi"}}};
  for (
      const std::string config :
      {R"({"chat_template": "T:{{ messages[0].content }}", "eos_token": {"content": "<|im_end|>"}})",
       R"({"chat_template": [{"name": "rag", "template": "no"}, {"name": "default", "template": "T:{{ messages[0].content }}"}]})"}) {
    const TempFolder folder;
    std::filesystem::copy_file(golden_text() / "tokenizers/qwen2/tokenizer.json",
                               folder.path() / "tokenizer.json");
    folder.write("tokenizer_config.json", config);
    const Tokenizer tokenizer = Tokenizer::load(folder.path());
    EXPECT_EQ(tokenizer.render(messages, false).text, "T:hi");
  }
}

// transformers' get_chat_template: "tool_use" if there are tools, be they none, and "default" else.
TEST(TokenizerTest, TakesTheToolTemplateForRowsWithTools) {
  const Json messages = {{{"role", "user"}, {"content", "hi"}}};
  const auto texts = [&](const TempFolder& folder) {
    std::filesystem::copy_file(golden_text() / "tokenizers/qwen2/tokenizer.json",
                               folder.path() / "tokenizer.json");
    const Tokenizer tokenizer = Tokenizer::load(folder.path());
    return tokenizer.render(messages, false).text + " " +
           tokenizer.render(messages, false, {{"tools", nullptr}}).text + " " +
           tokenizer.render(messages, false, {{"tools", Json::array()}}).text + " " +
           tokenizer.render(messages, false, {{"tools", {{{"name", "f"}}}}}).text;
  };
  const TempFolder named, files, single;
  named.write("tokenizer_config.json",
              R"({"chat_template": [{"name": "default", "template": "D"},
                                    {"name": "tool_use", "template": "T{{ tools | length }}"}]})");
  EXPECT_EQ(texts(named), "D D T0 T1");
  files.write("chat_template.jinja", "D");
  files.write("additional_chat_templates/tool_use.jinja", "T{{ tools | length }}");
  files.write("tokenizer_config.json", R"({"chat_template": "old"})");
  EXPECT_EQ(texts(files), "D D T0 T1");
  single.write("chat_template.jinja", "D{{ tools | length if tools }}");
  EXPECT_EQ(texts(single), "D D D D1");
}

TEST(TokenizerTest, ATemplateForToolsOnlyRefusesOtherRows) {
  const TempFolder folder;
  std::filesystem::copy_file(golden_text() / "tokenizers/qwen2/tokenizer.json",
                             folder.path() / "tokenizer.json");
  folder.write("tokenizer_config.json",
               R"({"chat_template": [{"name": "tool_use", "template": "T"}]})");
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  const Json messages = {{{"role", "user"}, {"content", "hi"}}};
  const Failure failure = failure_of([&] { tokenizer.render(messages, false); });
  EXPECT_EQ(failure.kind, core::ErrorKind::kBadInput);
  EXPECT_NE(failure.message.find("for tools only"), std::string::npos);
}

TEST(TokenizerTest, NamesTheFileThatIsMissingOrBroken) {
  const TempFolder folder;
  Failure failure = failure_of([&] { Tokenizer::load(folder.path()); });
  EXPECT_EQ(failure.kind, core::ErrorKind::kMissingInput);
  EXPECT_NE(failure.message.find("no tokenizer.json"), std::string::npos);

  folder.write("tokenizer.json", R"({"version": "1.0"})");
  failure = failure_of([&] { Tokenizer::load(folder.path()); });
  EXPECT_EQ(failure.kind, core::ErrorKind::kBadInput);
  EXPECT_NE(failure.message.find("tokenizer.json"), std::string::npos);
}

TEST(TokenizerTest, RefusesTextThatIsNotUtf8) {
  const Tokenizer tokenizer = Tokenizer::load(golden_text() / "tokenizers/qwen2");
  const Failure failure = failure_of([&] { tokenizer.encode("ab\xFF", false); });
  EXPECT_EQ(failure.kind, core::ErrorKind::kBadInput);
  EXPECT_NE(failure.message.find("byte 2"), std::string::npos);
}

}  // namespace
}  // namespace hone::data
