// What is written is proved: training, merge and export as a user runs them.
#include "tests/e2e/workspace.h"

namespace hone::test {
namespace {

core::Json run_json(const Workspace& work) {
  return core::Json::parse(slurp(work / "out" / "run.json"));
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST(Proof, OfTheFinalModelIsInRunJsonAndCard) {
  Workspace work;
  ASSERT_EQ(work.train().code, 0);
  const core::Json proof = run_json(work).at("proof");
  EXPECT_TRUE(proof.at("holds").get<bool>());
  EXPECT_EQ(proof.at("rows"), "held-out rows");
  EXPECT_GT(proof.at("num_tokens").get<int>(), 20);
  EXPECT_LT(proof.at("max_logit_difference").get<double>(), 1e-4);
  EXPECT_EQ(proof.at("top1_agreement"), 1.0);
  EXPECT_NE(slurp(work / "out" / "README.md").find("## Proof"), std::string::npos);
}

TEST(Proof, AFinalModelAboveTheBoundIsNotPushed) {
  Workspace work;
  work.write_recipe({{"adapter", ""},
                     {"eval_datasets", ""},
                     {"save_dtype", "bfloat16"},
                     {"max_kl", "1.0e-12"},
                     {"push_to_hub", "true"},
                     {"hub_model_id", "me/tiny"}});
  expect_failure(work.train(), 79, {"is not what the model computes", "training rows"});
  EXPECT_EQ(work.hone({"pull", "me/tiny", "--output", "pulled"}).code, 66);
  EXPECT_FALSE(run_json(work).at("proof").at("holds").get<bool>());
  EXPECT_NE(slurp(work / "out" / "README.md").find("above the bound"), std::string::npos);
  // With the bound of its type the same model passes.
  work.write_recipe({{"adapter", ""}, {"eval_datasets", ""}, {"save_dtype", "bfloat16"}});
  EXPECT_EQ(work.train({"--overwrite"}).code, 0);
  EXPECT_GT(run_json(work).at("proof").at("kl").get<double>(), 1e-12);
}

TEST(Proof, AMergedModelHasItInItsCardAndLeavesNothingWhenItFails) {
  Workspace work;
  ASSERT_EQ(work.train().code, 0);
  const std::vector<std::string> before = names_in(work / "");
  expect_failure(work.hone({"merge", "out", "--output", "merged", "--save-dtype", "bfloat16",
                            "--max-kl", "1e-12"}),
                 79, {"merged"});
  EXPECT_EQ(names_in(work / ""), before);
  const ProcessResult merged = work.hone({"merge", "out", "--output", "merged/"});
  ASSERT_EQ(merged.code, 0) << merged.err;
  EXPECT_NE(merged.out.find("held-out rows of the run"), std::string::npos) << merged.out;
  EXPECT_NE(slurp(work / "merged" / "README.md").find("the merged model"), std::string::npos);
  EXPECT_TRUE(run_json(work).at("merge").at("holds").get<bool>());
}

TEST(Export, AnAdapterRunBecomesAFileThatWritesTheSameText) {
  Workspace work;
  ASSERT_EQ(work.train().code, 0);
  const ProcessResult exported =
      work.hone({"export", "out", "--output", "tiny.gguf", "--type", "f32"});
  ASSERT_EQ(exported.code, 0) << exported.err;
  EXPECT_NE(exported.out.find("proved: KL"), std::string::npos) << exported.out;
  EXPECT_EQ(run_json(work).at("export").at("type"), "F32");
  EXPECT_NE(slurp(work / "tiny.gguf.md").find("library_name: gguf"), std::string::npos);
  ASSERT_EQ(work.hone({"import", "tiny.gguf", "me/back"}).code, 0);
  const auto generate = [&](const std::string& model) {
    const ProcessResult r = work.hone({"generate", model, "--chat", "--prompt", "What is pkg3?",
                                       "--greedy", "--max-new-tokens", "12"});
    EXPECT_EQ(r.code, 0) << r.err;
    return r.out;
  };
  EXPECT_EQ(generate("me/back"), generate("out"));
  expect_failure(work.hone({"export", "out", "--output", "tiny.gguf"}), 73, {"tiny.gguf"});
}

TEST(Export, AFileAboveTheBoundIsRefusedAndLeavesNothing) {
  Workspace work;
  const std::vector<std::string> before = names_in(work / "");
  expect_failure(work.hone({"export", "model", "--output", "tiny.gguf", "--type", "Q4_0",
                            "--max-kl", "1e-9", "--data", "test.jsonl"}),
                 79, {"tiny.gguf", "rows of test.jsonl"});
  expect_failure(work.hone({"export", "model", "--output", "tiny.gguf", "--type", "Q9"}), 64,
                 {"Q9", "Q4_K_M"});
  std::vector<std::string> after = names_in(work / "");
  std::erase(after, "cache");
  EXPECT_EQ(after, before);
}

}  // namespace
}  // namespace hone::test
