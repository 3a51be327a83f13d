#include "data/show.h"

#include "tests/data/support.h"

namespace hone::data {
namespace {

class ShowTest : public testing::Test {
 protected:
  ShowTest() : tokenizer_(make_chatml(folder_)) {
    const std::string rows =
        R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "A"}, {"role": "assistant", "content": "où"}]})"
        "\n"
        R"({"messages": [{"role": "user", "content": "B"}]})";
    const DatasetSource source{.path = folder_.write("rows.jsonl", rows)};
    cache_ = prepare_dataset({source}, {.assistant_only_loss = true}, tokenizer_,
                             folder_.path() / "cache");
  }
  TempFolder folder_;
  Tokenizer tokenizer_;
  TokenCache cache_;
};

TEST_F(ShowTest, MarksTrainedTokens) {
  const std::string text = render_rows(cache_, tokenizer_, {.num_rows = 1, .color = false});
  EXPECT_NE(text.find("--- row 0: "), std::string::npos);
  EXPECT_NE(text.find("<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n[[où<|im_end|>\n]]"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("row 1"), std::string::npos);
}

TEST_F(ShowTest, ColoursTrainedTokens) {
  const std::string text = render_rows(cache_, tokenizer_, {.num_rows = 1, .color = true});
  EXPECT_NE(text.find("\x1b[32moù<|im_end|>\n\x1b[0m"), std::string::npos) << text;
}

TEST_F(ShowTest, TotalsNameWhatIsLeftOut) {
  const std::string text = render_totals(cache_, {.packing = true, .max_length = 1024});
  EXPECT_NE(text.find("rows       2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("untrained  1 rows"), std::string::npos) << text;
  EXPECT_NE(text.find("truncated  0 rows"), std::string::npos) << text;
  EXPECT_NE(text.find("packs      1 of 1,024 tokens"), std::string::npos) << text;
}

}  // namespace
}  // namespace hone::data
