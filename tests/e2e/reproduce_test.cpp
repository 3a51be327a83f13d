// hone reproduce tells a run from one that is not it, and hone check a model from a broken one.
#include "tests/e2e/workspace.h"

namespace hone::test {
namespace {

const char* kWeights = "out/adapter_model.safetensors";

ProcessResult reproduce(const Workspace& work, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"reproduce", "out"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return work.hone(arguments);
}

void expect_differs(const ProcessResult& result, const std::vector<std::string>& mentions) {
  EXPECT_EQ(result.code, 1) << result.err;
  for (const std::string& text : mentions)
    EXPECT_NE(result.out.find(text), std::string::npos) << "'" << text << "' not in " << result.out;
  EXPECT_TRUE(result.out.ends_with("not equal\n")) << result.out;
}

void change_file(const fs::path& path, const std::string& from, const std::string& to) {
  std::string text = slurp(path);
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from << " is not in " << path;
  write_text(path, text.replace(at, from.size(), to));
}

TEST(Reproduce, ARunIsEqualToItselfAndAnyChangedByteIsNamed) {
  Workspace work;
  ASSERT_EQ(work.train({"--set", "max_steps=4"}).code, 0);
  const ProcessResult same = reproduce(work);
  ASSERT_EQ(same.code, 0) << same.out << same.err;
  EXPECT_TRUE(same.out.ends_with("\nequal\n")) << same.out;

  const std::string metrics = slurp(work / "out/metrics.jsonl");
  change_file(work / "out/metrics.jsonl", "\"grad_norm\":", "\"grad_norm\":1");
  expect_differs(reproduce(work), {"metrics.jsonl, step 1, grad_norm"});
  write_text(work / "out/metrics.jsonl", metrics);

  std::string weights = slurp(work / kWeights);
  weights.back() = static_cast<char>(weights.back() ^ 1);
  write_text(work / kWeights, weights);
  expect_differs(reproduce(work, {"--output", (work / "again").string()}),
                 {"DIFFERS first at adapter_model.safetensors, tensor \"", "1 of "});
  EXPECT_TRUE(fs::exists(work / "again/run/adapter_model.safetensors"));
}

TEST(Reproduce, ChangedInputsAreNamedBeforeAnythingIsTrained) {
  Workspace work;
  ASSERT_EQ(work.train({"--set", "max_steps=2"}).code, 0);
  const std::string rows = slurp(work / "train.jsonl");
  write_text(work / "train.jsonl", rows.substr(rows.find('\n') + 1));
  expect_failure(reproduce(work, {"--output", (work / "again").string()}), 65,
                 {"not those of the run", "data file train.jsonl: then sha256"});
  EXPECT_FALSE(fs::exists(work / "again/run"));
  write_text(work / "train.jsonl", rows);
  change_file(work / "model/config.json", "\"rms_norm_eps\": 1e-06", "\"rms_norm_eps\": 1e-05");
  expect_failure(reproduce(work), 65, {"model model: then sha256:"});
}

TEST(Reproduce, ARunThatWasResumedIsEqualToOneThatWasNot) {
  Workspace work;
  work.write_recipe({{"scheduler_steps", "8"}, {"max_steps", "4"}, {"save_steps", "2"}});
  ASSERT_EQ(work.train({"--set", "max_steps=2"}).code, 0);
  ASSERT_EQ(work.train({"--resume"}).code, 0);
  const ProcessResult result = reproduce(work);
  EXPECT_EQ(result.code, 0) << result.out << result.err;
  EXPECT_NE(result.err.find("went on from checkpoint-2"), std::string::npos) << result.err;
  // Two of four steps end where the checkpoint of step 2 is, from another folder too.
  const ProcessResult part = work.hone({"reproduce", (work / "out").string(), "--steps", "2"});
  EXPECT_EQ(part.code, 0) << part.out << part.err;
  EXPECT_NE(part.out.find("weights          equal"), std::string::npos) << part.out;
}

TEST(CheckInvariance, ATinyModelPassesAndAnImpossibleBoundFails) {
  Workspace work;
  for (const char* adapter : {"{type: lora, r: 4, lora_alpha: 8, lora_dropout: 0.1}", ""}) {
    work.write_recipe({{"adapter", adapter}});
    const ProcessResult result = work.hone({"check", "invariance", "recipe.yaml"});
    EXPECT_EQ(result.code, 0) << result.out << result.err;
    EXPECT_TRUE(result.out.ends_with("\ninvariant\n")) << result.out;
    EXPECT_EQ(result.out.find("dropout on") != std::string::npos, *adapter != '\0');
  }
  const ProcessResult failed =
      work.hone({"check", "invariance", "recipe.yaml", "--bound", "1e-30"});
  EXPECT_EQ(failed.code, 1) << failed.out << failed.err;
  EXPECT_NE(failed.out.find("FAILED  largest in "), std::string::npos) << failed.out;
  EXPECT_FALSE(fs::exists(work / "out"));
}

}  // namespace
}  // namespace hone::test
