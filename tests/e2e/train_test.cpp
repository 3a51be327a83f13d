// The main job, as a user types it.
#include <algorithm>

#include "tests/e2e/workspace.h"

namespace hone::test {
namespace {

TEST(Train, SaysWhatWasPlannedBesideWhatTheFirstStepTook) {
  Workspace work;
  const ProcessResult result = work.train();
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE((result.out + result.err).find("planned and measured: memory "), std::string::npos)
      << result.out << result.err;
}

TEST(Train, LeavesAFinishedRunFolder) {
  Workspace work;
  const ProcessResult result = work.train();
  ASSERT_EQ(result.code, 0) << result.err;
  for (const char* name :
       {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "README.md",
        "metrics.jsonl", "run.json", "checkpoint-8/manifest.json", "checkpoint-4/manifest.json"}) {
    EXPECT_TRUE(fs::exists(work / "out" / name)) << name;
  }
  const core::Json run = core::read_json_file(work / "out" / "run.json");
  for (const char* key : {"layout", "param_bytes", "optimizer_bytes"})
    EXPECT_TRUE(run.contains(key)) << key;
  ASSERT_TRUE(run["param_bytes"].is_array());
  EXPECT_EQ(run["param_bytes"].size(), 1u);
  // Two float32 moments for every trainable float32: LoRA r 4 on seven projections of two layers.
  EXPECT_GT(run["optimizer_bytes"][0].get<int64_t>(), 0);
}

TEST(Train, MetricsRowsHaveTheDocumentedKeysAndEvaluationBeforeAndAfter) {
  Workspace work;
  ASSERT_EQ(work.train().code, 0);
  std::vector<core::Json> steps, evals;
  std::istringstream lines(slurp(work / "out" / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    core::Json row = core::Json::parse(line);
    (row.contains("eval_loss") ? evals : steps).push_back(row);
  }
  ASSERT_EQ(steps.size(), 8u);
  for (const char* key :
       {"step", "loss", "learning_rate", "grad_norm", "tokens", "tokens_per_second"}) {
    EXPECT_TRUE(steps[0].contains(key)) << key;
  }
  ASSERT_EQ(evals.size(), 3u);
  EXPECT_EQ(evals.front()["step"], 0);
  EXPECT_EQ(evals.back()["step"], 8);
  EXPECT_LT(evals.back()["eval_loss"].get<double>(), evals.front()["eval_loss"].get<double>());
  EXPECT_LT(steps.back()["loss"].get<double>(), steps.front()["loss"].get<double>());
}

TEST(Train, FullFineTuningKeepsTensorNamesShapesAndDtypeOfItsInput) {
  Workspace work;
  work.write_recipe({{"adapter", ""}});
  const ProcessResult result = work.train();
  ASSERT_EQ(result.code, 0) << result.err;
  const auto header = [](const fs::path& path) {
    const std::string text = slurp(path);
    uint64_t size = 0;
    std::memcpy(&size, text.data(), 8);
    core::Json parsed = core::Json::parse(text.substr(8, size));
    parsed.erase("__metadata__");
    std::map<std::string, std::string> tensors;
    for (const auto& [name, value] : parsed.items()) {
      tensors[name] = value["dtype"].get<std::string>() + value["shape"].dump();
    }
    return tensors;
  };
  EXPECT_EQ(header(work / "out" / "model.safetensors"),
            header(work / "model" / "model.safetensors"));
  EXPECT_NE(slurp(work / "out" / "model.safetensors"), slurp(work / "model" / "model.safetensors"));
}

TEST(Train, PushedModelComesBackEqual) {
  Workspace work;
  work.write_recipe({{"push_to_hub", "true"}, {"hub_model_id", "me/tiny"}});
  const ProcessResult trained = work.train();
  ASSERT_EQ(trained.code, 0) << trained.err;
  const ProcessResult pulled = work.hone({"pull", "me/tiny", "--output", "pulled"});
  ASSERT_EQ(pulled.code, 0) << pulled.err;
  for (const char* name :
       {"adapter_model.safetensors", "adapter_config.json", "README.md", "tokenizer.json"}) {
    EXPECT_EQ(slurp(work / "pulled" / name), slurp(work / "out" / name)) << name;
  }
  EXPECT_FALSE(fs::exists(work / "pulled" / "checkpoint-8"));
}

TEST(Train, EverySaveIsPushedAndTheBestModelIsWhatTheBranchEndsWith) {
  Workspace work;
  work.write_recipe({{"push_to_hub", "true"},
                     {"hub_model_id", "me/tiny"},
                     {"hub_strategy", "every_save"},
                     {"load_best_model_at_end", "true"},
                     {"greater_is_better", "true"},  // the first evaluation is then the best
                     {"sample_prompts", "[\"What is pkg3?\"]"},
                     {"sample_eval_rows", "1"}});
  const ProcessResult trained = work.train();
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_NE(trained.err.find("the best model is that of step 4"), std::string::npos) << trained.err;
  EXPECT_NE(trained.err.find("throughput: "), std::string::npos) << trained.err;
  const ProcessResult history = work.hone({"hub", "history", "me/tiny"});
  EXPECT_NE(history.out.find("checkpoint-4"), std::string::npos) << history.out;
  const ProcessResult pulled = work.hone({"pull", "me/tiny", "--output", "pulled"});
  ASSERT_EQ(pulled.code, 0) << pulled.err;
  EXPECT_EQ(slurp(work / "pulled" / "adapter_model.safetensors"),
            slurp(work / "out" / "checkpoint-4" / "adapter_model.safetensors"));
  EXPECT_FALSE(fs::exists(work / "pulled" / "state"));
  EXPECT_FALSE(fs::exists(work / "pulled" / "manifest.json"));
  EXPECT_NE(slurp(work / "pulled" / "README.md").find("| optimizer steps | 4 |"),
            std::string::npos);
  EXPECT_EQ(core::read_json_file(work / "out" / "run.json").at("checkpoint_pushes").at("pushed"),
            1);
  const std::string samples = slurp(work / "out" / "samples.jsonl");
  EXPECT_EQ(std::count(samples.begin(), samples.end(), '\n'), 6);
}

TEST(Train, ProfileIsATraceOfTheWholeRun) {
  Workspace work;
  const ProcessResult trained = work.train({"--profile", "trace.json", "--profile-steps", "1"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  std::map<std::string, int> slices;
  const core::Json trace = core::read_json_file(work / "trace.json");
  for (const core::Json& event : trace.at("traceEvents"))
    if (event.at("ph") == "X") ++slices[event.at("name")];
  EXPECT_EQ(slices["start of the process"], 1);
  EXPECT_EQ(slices["load model"], 1);
  EXPECT_EQ(slices["step"], 8);
  EXPECT_EQ(slices["update"], 1);
  EXPECT_EQ(slices["backward layers.0 of micro-batch 1"], 1);
}

TEST(Train, MergedAdapterGivesTheSameTextAsBaseAndAdapter) {
  Workspace work;
  ASSERT_EQ(work.train().code, 0);
  const ProcessResult merged = work.hone({"merge", "out", "--output", "merged"});
  ASSERT_EQ(merged.code, 0) << merged.err;
  const auto generate = [&](const std::string& model) {
    const ProcessResult r = work.hone({"generate", model, "--chat", "--prompt", "What is pkg3?",
                                       "--greedy", "--max-new-tokens", "12"});
    EXPECT_EQ(r.code, 0) << r.err;
    return r.out;
  };
  EXPECT_EQ(generate("merged"), generate("out"));
  EXPECT_FALSE(generate("out").empty());
}

TEST(Train, EvalOfTheResultAgreesWithTheLastEvaluationOfTheRun) {
  Workspace work;
  ASSERT_EQ(work.train().code, 0);
  const ProcessResult result =
      work.hone({"eval", "out", "--data", "test.jsonl", "--format", "messages",
                 "--assistant-only-loss", "--max-length", "64", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const core::Json report = core::Json::parse(result.out);
  double last = 0;
  std::istringstream lines(slurp(work / "out" / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const core::Json row = core::Json::parse(line);
    if (row.contains("eval_loss")) last = row["eval_loss"];
  }
  EXPECT_NEAR(report["eval_loss"].get<double>(), last, 1e-5 * last);
}

TEST(Train, SecondStartReusesTheTokenCache) {
  Workspace work;
  ASSERT_EQ(work.train().code, 0);
  std::map<std::string, fs::file_time_type> before, after;
  const auto list = [&](auto& into) {
    for (const auto& e : fs::recursive_directory_iterator(work / "cache" / "hone" / "tokens")) {
      // Hashes of files are remembered only when the files have lain still for some seconds.
      if (e.path().parent_path().filename() == "content") continue;
      if (e.is_regular_file() && e.path().filename() != "lock")
        into[e.path().string()] = e.last_write_time();
    }
  };
  list(before);
  ASSERT_EQ(work.train({"--overwrite"}).code, 0);
  list(after);
  ASSERT_FALSE(before.empty());
  EXPECT_EQ(before, after);
}

}  // namespace
}  // namespace hone::test
