#include "core/yaml.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <ctime>

namespace hone::core {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr double kMaxSeconds = 10;
#else
constexpr double kMaxSeconds = 1;
#endif

struct Parsed {
  YamlNode root;
  std::vector<YamlProblem> problems;
};

Parsed parse(std::string_view text) {
  Parsed parsed;
  parsed.root = parse_yaml(text, parsed.problems);
  return parsed;
}

// "line: message" of each problem.
std::vector<std::string> problems_of(std::string_view text) {
  std::vector<std::string> lines;
  for (const YamlProblem& p : parse(text).problems)
    lines.push_back(std::to_string(p.line) + ": " + p.message);
  return lines;
}

// Parses hostile text: one problem, in bounded time.
std::string refused(const std::string& text) {
  const std::clock_t start = std::clock();
  const auto problems = problems_of(text);
  const double cpu_seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  EXPECT_LT(cpu_seconds, kMaxSeconds);
  EXPECT_EQ(problems.size(), 1u);
  return problems.empty() ? "" : problems[0];
}

TEST(Yaml, NodesKnowTheirLinesAndKinds) {
  const Parsed parsed = parse(
      "# comment\n"
      "a: 1\n"
      "b:\n"
      "  c: 'x'\n"
      "  d: [1, \"2\", ~]\n"
      "e:\n");
  ASSERT_TRUE(parsed.problems.empty());
  ASSERT_EQ(parsed.root.kind, YamlNode::Kind::kMap);
  ASSERT_EQ(parsed.root.entries.size(), 3u);
  EXPECT_EQ(parsed.root.entries[1].line, 3);
  EXPECT_EQ(parsed.root.find("a")->line, 2);
  EXPECT_FALSE(parsed.root.find("a")->quoted);
  const YamlNode& b = *parsed.root.find("b");
  EXPECT_EQ(b.line, 4);
  EXPECT_EQ(b.find("c")->scalar, "x");
  EXPECT_TRUE(b.find("c")->quoted);
  ASSERT_EQ(b.find("d")->items.size(), 3u);
  EXPECT_FALSE(b.find("d")->items[0].quoted);
  EXPECT_TRUE(b.find("d")->items[1].quoted);
  EXPECT_EQ(b.find("d")->items[2].kind, YamlNode::Kind::kNull);
  EXPECT_EQ(parsed.root.find("e")->kind, YamlNode::Kind::kNull);
  EXPECT_EQ(parsed.root.find("e")->line, 6);
  EXPECT_EQ(parsed.root.find("none"), nullptr);
}

TEST(Yaml, EmptyTextIsNull) {
  EXPECT_EQ(parse("").root.kind, YamlNode::Kind::kNull);
  EXPECT_EQ(parse("# only a comment\n").root.kind, YamlNode::Kind::kNull);
}

TEST(Yaml, DuplicateKeysNameBothLinesAndKeepTheFirst) {
  const Parsed parsed = parse("seed: 1\nadapter:\n  r: 1\n  r: 2\nseed: 2\n");
  ASSERT_EQ(parsed.problems.size(), 2u);
  EXPECT_EQ(parsed.problems[0].line, 4);
  EXPECT_EQ(parsed.problems[0].message, "duplicate key 'r', first on line 3");
  EXPECT_EQ(parsed.problems[1].line, 5);
  EXPECT_EQ(parsed.problems[1].message, "duplicate key 'seed', first on line 1");
  EXPECT_EQ(parsed.root.find("seed")->scalar, "1");
}

TEST(Yaml, SameKeyInTwoMapsIsFine) {
  EXPECT_TRUE(problems_of("a: {path: x}\nb: {path: x}\nc: [{path: x}, {path: y}]\n").empty());
}

TEST(Yaml, AliasesAreExpandedAtTheirOwnLine) {
  const Parsed parsed = parse("a: &x {p: 1}\nb: *x\n");
  ASSERT_TRUE(parsed.problems.empty());
  EXPECT_EQ(parsed.root.find("b")->find("p")->scalar, "1");
  EXPECT_EQ(parsed.root.find("b")->line, 2);
}

TEST(Yaml, AliasBombIsRefused) {
  std::string text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c <= 'i'; ++c) {
    text += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 10; ++i)
      text += std::string(i > 0 ? "," : "") + "*" + static_cast<char>(c - 1);
    text += "]\n";
  }
  EXPECT_NE(refused(text).find("more than 100,000 values"), std::string::npos);
}

TEST(Yaml, NestedAnchorsSpendTheBudgetToo) {
  std::string text;
  for (int i = 0; i < 60; ++i) text += "&a" + std::to_string(i) + " [";
  for (int i = 0; i < 20'000; ++i) text += "x,";
  text += "x" + std::string(60, ']');
  EXPECT_NE(refused(text).find("more than 100,000 values"), std::string::npos);
}

TEST(Yaml, AliasToItselfIsRefused) {
  EXPECT_EQ(refused("a: &x [1, *x]\n"), "1: an alias refers to the value it is in");
}

TEST(Yaml, DeepNestingIsRefusedInEveryStyle) {
  const std::string deep = "nested deeper than 64 levels";
  EXPECT_NE(refused(std::string(100'000, '[')).find(deep), std::string::npos);
  EXPECT_NE(refused(std::string(1 << 20, '[')).find(deep), std::string::npos);
  std::string maps, block, dashes;
  for (int i = 0; i < 100'000; ++i) maps += "{a: ";
  for (int i = 0; i < 1'000; ++i) block += std::string(static_cast<size_t>(i), ' ') + "a:\n";
  for (int i = 0; i < 100'000; ++i) dashes += "- ";
  EXPECT_NE(refused(maps).find(deep), std::string::npos);
  EXPECT_NE(refused(block).find(deep), std::string::npos);
  EXPECT_NE(refused(dashes).find(deep), std::string::npos);
  EXPECT_TRUE(problems_of(std::string(64, '[') + std::string(64, ']')).empty());
}

TEST(Yaml, TooManyValuesAreRefused) {
  std::string text = "a: [";
  for (int i = 0; i < 200'000; ++i) text += "x,";
  EXPECT_NE(refused(text + "x]").find("more than 100,000 values"), std::string::npos);
}

TEST(Yaml, LargeTextIsRefusedUnread) {
  EXPECT_NE(refused("a: " + std::string(2 << 20, 'x')).find("file is too large"),
            std::string::npos);
}

TEST(Yaml, TabIndentationNamesTheLine) {
  EXPECT_EQ(refused("a:\n\tb: 1\n"), "2: tab in the indentation, expected spaces");
  EXPECT_EQ(refused("a:\n  \tb: 1\n"), "2: tab in the indentation, expected spaces");
}

TEST(Yaml, TabsInTextAndCommentsAreFine) {
  EXPECT_TRUE(problems_of("a: 1\t# one\n\t# two\n \t\nb: |\n  x\n  \ty\nc: 1\n").empty());
  EXPECT_EQ(parse("b: |\n  x\n  \ty\n").root.find("b")->scalar, "x\n\ty\n");
}

TEST(Yaml, NulAndBadUtf8NameTheLine) {
  EXPECT_EQ(refused(std::string("a: 1\nb: \0x\n", 11)), "2: NUL byte");
  EXPECT_EQ(refused("a: 1\nb: caf\xe9\n"), "2: not valid UTF-8: b: caf\\xe9");
  EXPECT_NE(refused(std::string("\xff\xfe"
                                "a\0:\0",
                                6)),
            "");
}

TEST(Yaml, SyntaxErrorKeepsWhatCameBefore) {
  const Parsed parsed = parse("a: 1\nb: [1, 2\nc: }\n");
  ASSERT_EQ(parsed.problems.size(), 1u);
  EXPECT_GE(parsed.problems[0].line, 2);
  EXPECT_NE(parsed.problems[0].message.find("not valid YAML"), std::string::npos);
  EXPECT_EQ(parsed.root.find("a")->scalar, "1");
}

TEST(Yaml, OneDocumentAndTextKeysOnly) {
  EXPECT_EQ(refused("a: 1\n---\nb: 2\n"), "2: more than one document in the file");
  EXPECT_EQ(refused("? [a, b]\n: 1\n"), "1: a key must be plain text");
}

#if !defined(__SANITIZE_ADDRESS__)
TEST(Yaml, HostileTextStaysSmall) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  EXPECT_LT(usage.ru_maxrss, 400 * 1024) << "kB, of all tests in this program";
}
#endif

}  // namespace
}  // namespace hone::core
