#include "formats/gguf_sentencepiece.h"

#include <gtest/gtest.h>

namespace hone::formats {
namespace {

using core::Json;
using Merges = std::vector<std::pair<std::string, std::string>>;

std::vector<std::string> texts_of(const std::vector<ScoredToken>& tokens) {
  std::vector<std::string> texts;
  for (const ScoredToken& token : tokens) texts.push_back(token.text);
  return texts;
}

TEST(GgufSentencePiece, AllPairsOfAJoinComeByItsScoreAndOnlyWholeCharactersAreCut) {
  const std::vector<ScoredToken> tokens = {{"a", -9},  {"b", -9},   {"ab", -1}, {"abab", -2},
                                           {"ba", -3}, {"aba", -4}, {"é", -9},  {"éa", 0}};
  const Merges merges = merges_of_scores(tokens);
  const Merges expected = {{"é", "a"}, {"a", "b"},  {"aba", "b"}, {"ab", "ab"},
                           {"b", "a"}, {"ab", "a"}, {"a", "ba"}};
  EXPECT_EQ(merges, expected);
}

TEST(GgufSentencePiece, ScoresOfMergesGiveTheSameMergesAgain) {
  const std::vector<ScoredToken> tokens = {{"a", -70},   {"b", -71},   {"c", -72}, {"ab", -0.5},
                                           {"bc", -1.5}, {"abc", -99}, {"cab", 12}};
  const Merges merges = merges_of_scores(tokens);
  const ScoresOfMerges found = scores_of_merges(texts_of(tokens), merges);
  ASSERT_EQ(found.problem, "");
  std::vector<ScoredToken> again;
  for (size_t i = 0; i < tokens.size(); ++i) again.push_back({tokens[i].text, found.scores[i]});
  EXPECT_EQ(merges_of_scores(again), merges);
  for (const size_t single : {0, 1, 2}) EXPECT_LT(found.scores[single], found.scores[5]);
}

// The runs of spaces of a real vocabulary.
TEST(GgufSentencePiece, MergesBetweenEachOthersHaveOneScore) {
  const std::vector<ScoredToken> tokens = {{"b", -9}, {"bb", -1}, {"a", -9},
                                           {"aa", 0}, {"aaa", 0}, {"aaaa", 0}};
  const Merges merges = merges_of_scores(tokens);
  const Merges expected = {{"aaa", "a"}, {"aa", "aa"}, {"aa", "a"}, {"a", "aaa"},
                           {"a", "aa"},  {"a", "a"},   {"b", "b"}};
  EXPECT_EQ(merges, expected);
  const ScoresOfMerges found = scores_of_merges(texts_of(tokens), merges);
  ASSERT_EQ(found.problem, "");
  EXPECT_EQ(found.scores, (std::vector<double>{-3, -2, -4, -1, 0, 0}));
  std::vector<ScoredToken> again = tokens;
  for (size_t i = 0; i < tokens.size(); ++i) again[i].score = found.scores[i];
  EXPECT_EQ(merges_of_scores(again), merges);
}

TEST(GgufSentencePiece, MergesThatNoScoresCanSayAreToldApart) {
  const std::vector<std::string> tokens = {"a", "b", "ab", "ba", "aba"};
  const auto problem = [&](const Merges& merges) {
    return scores_of_merges(tokens, merges).problem;
  };
  EXPECT_EQ(problem({{"a", "b"}, {"b", "a"}, {"ab", "a"}, {"a", "ba"}}), "");
  EXPECT_EQ(problem({{"a", "b"}, {"b", "a"}, {"ab", "a"}}),
            "not every pair that joins to aba is merged");
  EXPECT_EQ(problem({{"a", "b"}, {"a", "ba"}, {"b", "a"}, {"ab", "a"}}),
            "merges to aba stand in two places of the list");
  EXPECT_EQ(problem({{"b", "b"}}), "a merge needs a token that the vocabulary lacks: b b");
}

TEST(GgufSentencePiece, SpacesAreReadAsWritten) {
  for (const bool prefix : {false, true}) {
    const auto rule = match_space_rule(sentencepiece_normalizer_json(prefix), nullptr);
    ASSERT_TRUE(rule.has_value());
    EXPECT_EQ(rule->add_space_prefix, prefix);
    EXPECT_TRUE(rule->is_exact);
  }
  const auto metaspace = [](const char* scheme, bool split) {
    const Json part{{"type", "Metaspace"},
                    {"replacement", kSpaceMark},
                    {"prepend_scheme", scheme},
                    {"split", split}};
    return match_space_rule(nullptr, part);
  };
  EXPECT_FALSE(metaspace("never", false)->add_space_prefix);
  EXPECT_TRUE(metaspace("first", false)->add_space_prefix);
  EXPECT_FALSE(metaspace("first", false)->is_exact);
  EXPECT_FALSE(metaspace("first", true).has_value());
  EXPECT_FALSE(match_space_rule(nullptr, nullptr).has_value());
  EXPECT_FALSE(match_space_rule({{"type", "NFC"}}, nullptr).has_value());
}

TEST(GgufSentencePiece, BytesHaveTwoDigits) {
  EXPECT_EQ(byte_token(0), "<0x00>");
  EXPECT_EQ(byte_token(255), "<0xFF>");
}

}  // namespace
}  // namespace hone::formats
