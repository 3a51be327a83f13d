#include "core/text.h"

#include <gtest/gtest.h>

namespace hone::core {
namespace {

TEST(Text, SuggestsTheNearestWord) {
  const std::vector<std::string> keys{"learning_rate", "max_steps", "warmup_steps", "seed", "r"};
  EXPECT_EQ(did_you_mean("lerning_rate", keys), "learning_rate");
  EXPECT_EQ(did_you_mean("learning-rate", keys), "learning_rate");
  EXPECT_EQ(did_you_mean("LearningRate", keys), "learning_rate");
  EXPECT_EQ(did_you_mean("maxsteps", keys), "max_steps");
  EXPECT_EQ(did_you_mean("sede", keys), "seed");
}

TEST(Text, FarWordsGetNoSuggestion) {
  const std::vector<std::string> keys{"learning_rate", "max_steps", "seed", "r"};
  for (const char* word : {"", "x", "tokenizer", "lr"})
    EXPECT_NE(did_you_mean(word, keys), "learning_rate") << word;
  EXPECT_EQ(did_you_mean("zzzzzz", keys), "");
  EXPECT_EQ(did_you_mean("x", keys), "");
  EXPECT_EQ(did_you_mean(std::string(100'000, 'a'), keys), "");
}

TEST(Text, ExcerptStaysOnOneLineAndKeepsCharactersWhole) {
  EXPECT_EQ(excerpt("a\nb\tc"), "a\\nb\\tc");
  EXPECT_EQ(excerpt("äöüäöü", 4), "äöü…");
  EXPECT_EQ(excerpt("äöü", 3), "äöü");
  EXPECT_EQ(excerpt(std::string("x\0\xff", 3)), "x\\x00\\xff");
  EXPECT_EQ(excerpt("abcdef", 3), "ab…");
}

TEST(Text, NumbersReadWell) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1.2e9), "1.2 GB");
  EXPECT_EQ(format_bytes(999'990), "1.0 MB");
  EXPECT_EQ(format_count(7), "7");
  EXPECT_EQ(format_count(1024), "1,024");
  EXPECT_EQ(format_count(134'515'008), "134,515,008");
  EXPECT_EQ(format_duration(0.25), "0.25 s");
  EXPECT_EQ(format_duration(59.96), "1 min 0 s");
  EXPECT_EQ(format_duration(250), "4 min 10 s");
  EXPECT_EQ(format_duration(7500), "2 h 5 min");
}

TEST(Text, Utf8FollowsTheStandard) {
  EXPECT_TRUE(is_valid_utf8("plain, ä, €, 😀"));
  EXPECT_TRUE(is_valid_utf8("\xf4\x8f\xbf\xbf"));
  for (const char* bad : {"\x80", "\xc0\x80", "\xc3", "\xe0\x9f\xbf", "\xed\xa0\x80",
                          "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82"}) {
    EXPECT_FALSE(is_valid_utf8(bad)) << excerpt(bad);
  }
}

TEST(Text, JoinPutsSeparatorsBetween) {
  EXPECT_EQ(join({}, ", "), "");
  EXPECT_EQ(join({"a", "b"}, ", "), "a, b");
}

}  // namespace
}  // namespace hone::core
