// `mpirun hone generate` and `hone eval`: what one rank writes, once.
#include "tests/e2e/ranks.h"

namespace hone::test {
namespace {

using Words = std::vector<std::string>;

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

const Words kTensor = {"--tensor-parallel-size", "2"},
            kPipeline = {"--pipeline-parallel-size", "2"},
            kContext = {"--context-parallel-size", "2"};
const Words kGenerate = {"generate",         "model", "--prompt", "What is pkg3?", "--chat",
                         "--max-new-tokens", "24"};
const Words kEval = {"eval", "model", "--data", "test.jsonl", "--max-length", "64", "--json"};

TEST(RanksGenerate, TextOfTensorAndPipelineRanksIsThatOfOneRankAndPrintedOnce) {
  Workspace work;
  for (const Words& how : {Words{"--greedy"}, Words{"--seed", "5"}}) {
    const ProcessResult one = work.hone(kGenerate + how);
    ASSERT_EQ(one.code, 0) << one.err;
    ASSERT_GT(one.out.size(), 5u);
    for (const auto& [ranks, sizes] :
         {std::pair{2, kTensor}, std::pair{2, kPipeline}, std::pair{4, kTensor + kPipeline}}) {
      const ProcessResult many = mpirun(work, ranks, kGenerate + how + sizes);
      EXPECT_EQ(many.code, 0) << many.err;
      EXPECT_EQ(many.out, one.out) << sizes.front();
    }
  }
}

// Only rank 0 has an input; the others are told what was typed, and when it ends.
TEST(RanksGenerate, ConversationTypedToRankZeroIsThatOfOneRank) {
  Workspace work;
  write_text(work / "typed.txt", "What is pkg3?\n\nWhat is pkg5?\n");
  const Words chat = {"generate", "model", "--chat", "--max-new-tokens", "12"};
  const auto typed = [](const Words& words) {
    std::string line;
    for (const std::string& word : words) line += "'" + word + "' ";
    return Words{"sh", "-c", line + "< typed.txt"};
  };
  const ProcessResult one = work.run(typed(Words{(kBin / "hone").string()} + chat));
  ASSERT_EQ(one.code, 0) << one.err;
  const Words start = mpirun_words(60) + Words{"-np", "2", (kBin / "hone").string()};
  const ProcessResult two = work.run(typed(start + chat + kTensor), mpirun_environment());
  EXPECT_EQ(two.code, 0) << two.err;
  EXPECT_EQ(two.out, one.out);
  EXPECT_EQ(times(two.err, "> "), 4u) << two.err;  // two messages, an empty line, the end
}

TEST(RanksGenerate, AdapterIsPutOnEveryRanksPart) {
  Workspace work;
  ASSERT_EQ(work.train().code, 0);
  const Words words = {"generate", "out",      "--base",           "model", "--prompt",
                       "pkg3",     "--greedy", "--max-new-tokens", "12"};
  const ProcessResult one = work.hone(words);
  ASSERT_EQ(one.code, 0) << one.err;
  EXPECT_EQ(mpirun(work, 4, words + kTensor + kPipeline).out, one.out);
}

TEST(RanksEval, LossIsThatOfOneRankOnEveryLayoutAndPrintedOnce) {
  Workspace work;
  const ProcessResult one = work.hone(kEval);
  ASSERT_EQ(one.code, 0) << one.err;
  const core::Json expected = core::Json::parse(one.out);
  for (const auto& [ranks, sizes] :
       {std::pair{2, Words{}}, std::pair{2, kTensor}, std::pair{2, kPipeline},
        std::pair{2, kContext}, std::pair{4, kTensor}, std::pair{4, kTensor + kPipeline}}) {
    const ProcessResult many = mpirun(work, ranks, kEval + sizes);
    ASSERT_EQ(many.code, 0) << many.err;
    const core::Json report = core::Json::parse(many.out);
    EXPECT_EQ(first_difference(expected, report, 1e-6), "") << many.out << one.out;
  }
}

void expect_refused(const ProcessResult& result, int code, const Words& mentions) {
  expect_failure(result, code, mentions);
  EXPECT_EQ(times(result.err, "FATAL " + std::to_string(code)), 1u) << result.err;
  EXPECT_EQ(result.out, "");
}

// The workspace's model: 4 query heads, 2 layers.
TEST(RanksGenerate, WhatTheModelCannotBeDividedOverShowsTheEquations) {
  Workspace work;
  for (const Words& verb : {kGenerate, kEval}) {
    expect_refused(mpirun(work, 3, verb + Words{"--tensor-parallel-size", "3"}), 78,
                   {"num_attention_heads 4 / tensor_parallel_size 3 leaves 1"});
    expect_refused(mpirun(work, 3, verb + Words{"--pipeline-parallel-size", "3"}), 78,
                   {"pipeline_parallel_size 3 x 1 chunk = 3 is more than the model's 2 layers"});
  }
}

TEST(RanksGenerate, SizesThatDoNotFitTheRanksShowTheEquation) {
  Workspace work;
  expect_refused(mpirun(work, 3, kGenerate + kTensor), 64,
                 {"3 ranks", "--tensor-parallel-size 2 x --pipeline-parallel-size 1 = 2"});
  expect_refused(mpirun(work, 2, kGenerate), 64, {"2 ranks", "= 1"});
  expect_refused(work.hone(kGenerate + kTensor), 64, {"1 rank", "= 2"});
  expect_refused(mpirun(work, 3, kEval + kContext), 64, {"3 ranks", "a multiple of", "= 2"});
  expect_refused(work.hone(kEval + kPipeline), 64, {"1 rank", "a multiple of", "= 2"});
}

TEST(RanksGenerate, RanksStartedWithOtherOptionsAreNamed) {
  Workspace work;
  const ProcessResult result =
      mpirun(work, {{.arguments = kGenerate + kTensor},
                    {.arguments = kGenerate + kTensor + Words{"--seed", "9"}}});
  expect_refused(result, 78, {"options.seed", "rank 1: 9"});
}

TEST(RanksGenerate, WithoutAPromptIsRefusedOnce) {
  Workspace work;
  expect_refused(mpirun(work, 2, Words{"generate", "model"} + kTensor), 64, {"give --prompt"});
}

}  // namespace
}  // namespace hone::test
