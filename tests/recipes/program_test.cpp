// The built program `hone`, as a user runs it.
#include "recipes/program.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/json.h"
#include "tests/recipes/support.h"
#include "tests/support/paths.h"

namespace hone::recipes {
namespace {

const std::string kHone = std::string(test::kBinaryDir) + "/bin/hone";

class Program : public RecipeTest {
 protected:
  test::ProcessResult hone(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), kHone);
    // Nothing is asked of a hub elsewhere.
    return test::run_process(arguments,
                             {{"HONE_HUB", (folder_ / "hub").string()}, {"HF_HUB_OFFLINE", "1"}},
                             folder_.path());
  }
};

TEST_F(Program, ValidatesAGoodRecipeInUnderATenthOfASecond) {
  test::write_text(folder_ / "r.yaml", kWholeRecipe);
  const auto result = hone({"validate", "r.yaml"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("r.yaml is a sound recipe"), std::string::npos) << result.out;
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_LT(result.cpu_seconds, 0.1);
#endif
}

TEST_F(Program, ValidateSaysWhatARecipeIsOnSoManyRanks) {
  test::write_text(folder_ / "r.yaml", kSound + "dp_shard_size: 2\nglobal_batch_size: 16\n");
  const auto result = hone({"validate", "r.yaml", "--ranks", "4"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(result.out.ends_with(
      "\n4 ranks: dp_replicate 2 x dp_shard 2, dp_shard_level 3: optimizer states, gradients and "
      "parameters sharded; a step is 16 rows = micro_batch_size 1 x gradient_accumulation_steps 4 "
      "x 4 data-parallel ranks\n"))
      << result.out;
  test::write_text(folder_ / "r.yaml", kSound + "global_batch_size: 16\n");
  EXPECT_TRUE(hone({"validate", "r.yaml"})
                  .out.ends_with("\n1 rank; a step is 16 rows = micro_batch_size 1 x "
                                 "gradient_accumulation_steps 16\n"));
  const auto uneven = hone({"validate", "r.yaml", "--ranks", "3"});
  EXPECT_EQ(uneven.code, 78);
  EXPECT_NE(uneven.err.find("micro_batch_size 1 x 3 data-parallel ranks"), std::string::npos)
      << uneven.err;
  EXPECT_EQ(hone({"validate", "r.yaml", "--ranks", "0"}).code, 64);
}

const std::string kLlama70b =
    R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8192,
"intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
"num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
"rms_norm_eps": 1e-05, "rope_theta": 500000.0, "tie_word_embeddings": false,
"torch_dtype": "bfloat16"})";

TEST_F(Program, PlansALargeModelOnManyRanksFromItsConfigAloneInUnderASecond) {
  // Neither the data nor the model that the recipe names is here.
  test::write_text(folder_ / "r.yaml",
                   "recipe: sft\nmodel_name_or_path: /nowhere/llama\n"
                   "datasets: [{path: /nowhere/rows.jsonl}]\noutput_dir: runs/x\n"
                   "max_length: 8192\ntensor_parallel_size: 8\ndp_shard_size: 64\n"
                   "gradient_checkpointing: true\ngradient_accumulation_steps: 2\n");
  test::write_text(folder_ / "config.json", kLlama70b);
  const auto result = hone({"plan", "r.yaml", "--ranks", "512", "--config", "config.json"});
  EXPECT_EQ(result.code, 0) << result.err;
  for (const char* part : {"70553706496 parameters", "512 ranks of NVIDIA H100", "512 ranks match",
                           "fits: ", "what would save most time"})
    EXPECT_NE(result.out.find(part), std::string::npos) << part << " is not in\n" << result.out;
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_LT(result.cpu_seconds, 1);
#endif
  const auto json = hone({"plan", "r.yaml", "--ranks", "512", "--config", "config.json", "--json"});
  EXPECT_EQ(core::Json::parse(json.out)["num_parameters"], 70553706496) << json.err;
}

TEST_F(Program, APlanThatDoesNotFitSaysSoAndIsNoError) {
  test::write_text(folder_ / "r.yaml", kSound + "max_length: 4096\n");
  test::write_text(folder_ / "config.json", kLlama70b);
  const auto result = hone({"plan", "r.yaml", "--config", "config.json", "--hardware", "a100"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("DOES NOT FIT"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("what would save most memory"), std::string::npos) << result.out;
}

TEST_F(Program, APlanThatCanNotBeMadeSaysWhatIsWrong) {
  test::write_text(folder_ / "r.yaml", kSound + "tensor_parallel_size: 3\n");
  test::write_text(folder_ / "config.json", kLlama70b);
  const auto uneven = hone({"plan", "r.yaml", "--ranks", "3", "--config", "config.json"});
  EXPECT_EQ(uneven.code, 78);
  EXPECT_NE(uneven.err.find("num_attention_heads 64 / tensor_parallel_size 3 leaves 1"),
            std::string::npos)
      << uneven.err;
  const auto missing = hone({"plan", "r.yaml", "--ranks", "3"});
  EXPECT_EQ(missing.code, 66);
  EXPECT_NE(missing.err.find("--config FILE"), std::string::npos) << missing.err;
  const auto hardware = hone({"plan", "r.yaml", "--config", "config.json", "--set",
                              "tensor_parallel_size=1", "--hardware", "h1000"});
  EXPECT_EQ(hardware.code, 64);
  EXPECT_NE(hardware.err.find("did you mean 'h100'?"), std::string::npos) << hardware.err;
}

TEST_F(Program, ASearchRanksLayoutsOfTheSameStep) {
  test::write_text(folder_ / "r.yaml", kSound +
                                           "max_length: 4096\ntensor_parallel_size: 8\n"
                                           "dp_shard_size: 8\ngradient_accumulation_steps: 8\n");
  test::write_text(folder_ / "config.json", kLlama70b);
  const auto result =
      hone({"plan", "r.yaml", "--ranks", "64", "--config", "config.json", "--search", "--json"});
  EXPECT_EQ(result.code, 0) << result.err;
  const core::Json layouts = core::Json::parse(result.out)["layouts"];
  ASSERT_GE(layouts.size(), 3u);
  double before = 0;
  for (const core::Json& layout : layouts) {
    EXPECT_GE(layout["step_seconds"].get<double>(), before);
    before = layout["step_seconds"].get<double>();
  }
}

TEST_F(Program, ValidateSaysWhichLayersAreWhereAndWhatThePipelineWaits) {
  const std::string lines =
      "max_length: 64\npipeline_parallel_size: 2\npipeline_schedule: interleaved\n"
      "gradient_accumulation_steps: 8\n";
  test::write_text(folder_ / "r.yaml", kSound + lines);
  const std::string bubble = "; bubble (2 - 1) / (8 micro-batches x 2 + 2 - 1) = 5.9 %";
  auto result = hone({"validate", "r.yaml", "--ranks", "2"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("\n2 ranks: pp 2; 2 chunks a rank" + bubble + "; a step is 8 rows"),
            std::string::npos)
      << result.out;
  const std::string model = std::string(test::kSourceDir) + "/tests/golden/tiny-chat";
  result = hone({"validate", "r.yaml", "--ranks", "2", "--set", "model_name_or_path=" + model});
  EXPECT_EQ(result.code, 78);
  EXPECT_NE(result.err.find("r.yaml:6: pipeline_parallel_size: pipeline_parallel_size 2 x 2 chunks "
                            "= 4 is more than the model's"),
            std::string::npos)
      << result.err;
  result = hone({"validate", "r.yaml", "--ranks", "2", "--set", "model_name_or_path=" + model,
                 "--set", "pipeline_schedule=1f1b"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("\n2 ranks: pp 2; stages 0-1 on pp rank 0, 2-3 on pp rank 1; bubble"),
            std::string::npos)
      << result.out;
}

TEST_F(Program, ReportsEveryErrorAndExits78) {
  test::write_text(folder_ / "r.yaml", kSound + "lerning_rate: 1\nseed: x\n");
  const auto result = hone({"validate", "r.yaml", "--set", "max_steps=0"});
  EXPECT_EQ(result.code, 78);
  EXPECT_NE(
      result.err.find(
          "r.yaml:5: lerning_rate: unknown key, did you mean 'learning_rate'?\nr.yaml:6: seed: "),
      std::string::npos)
      << result.err;
  EXPECT_NE(result.err.find("--set max_steps: got '0'"), std::string::npos);
  EXPECT_NE(result.err.find("\nFATAL 78 rank=0 host="), std::string::npos);
  EXPECT_NE(result.err.find("what=3 problems in the recipe"), std::string::npos);
}

TEST_F(Program, DoesNotLinkLibTorch) {
  const auto result = test::run_process({"ldd", kHone});
  EXPECT_EQ(result.code, 0);
  EXPECT_NE(result.out.find("libc.so"), std::string::npos);
  EXPECT_EQ(result.out.find("torch"), std::string::npos) << result.out;
  EXPECT_EQ(result.out.find("libc10"), std::string::npos) << result.out;
}

TEST_F(Program, PrintsSchemaAndReference) {
  EXPECT_EQ(core::Json::parse(hone({"recipe", "schema"}).out)["type"], "object");
  EXPECT_EQ(hone({"recipe", "docs"}).out,
            test::slurp(std::filesystem::path(test::kSourceDir) / "docs/recipe_reference.md"));
}

TEST_F(Program, WrongUsageExits64AndSaysWhatIsMeant) {
  const auto verb = hone({"validat"});
  EXPECT_EQ(verb.code, 64);
  EXPECT_NE(verb.err.find("did you mean 'validate'?"), std::string::npos) << verb.err;
  EXPECT_EQ(hone({}).code, 64);
  EXPECT_EQ(hone({"validate"}).code, 64);
  EXPECT_EQ(hone({"validate", "r.yaml", "--strict"}).code, 64);
  EXPECT_EQ(hone({"push", "x", "bad id"}).code, 64);
}

TEST_F(Program, HelpAndVersionAreNoErrors) {
  EXPECT_EQ(hone({"--version"}).out, version_text() + "\n");
  const auto help = hone({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* verb : {"validate", "train", "generate", "eval", "merge", "export", "import",
                           "push", "pull", "hub", "data", "recipe"}) {
    EXPECT_NE(help.out.find(verb), std::string::npos) << verb;
  }
}

TEST_F(Program, PushedFolderIsListedAndComesBack) {
  test::write_text(folder_ / "model/config.json", "{}");
  test::write_text(folder_ / "model/README.md", "# x");
  const auto pushed = hone({"push", "model", "me/x"});
  ASSERT_EQ(pushed.code, 0) << pushed.err;
  EXPECT_NE(hone({"hub", "ls"}).out.find("me/x"), std::string::npos);
  EXPECT_NE(hone({"hub", "ls", "me/x"}).out.find("config.json"), std::string::npos);
  EXPECT_NE(hone({"hub", "history", "me/x"}).out.find("main"), std::string::npos);
  const auto pulled = hone({"pull", "me/x", "--output", "copy"});
  EXPECT_EQ(pulled.code, 0) << pulled.err;
  EXPECT_EQ(test::slurp(folder_ / "copy/README.md"), "# x");
  EXPECT_EQ(hone({"pull", "me/none"}).code, 66);
}

TEST(ErrorReport, HidesTokensAndKeepsOneFatalLine) {
  const std::string token = "hf_" + std::string(30, 'a');
  const std::string text =
      error_report({core::ErrorKind::kUnavailable,
                    {.what = "first " + token + "\nsecond", .where = "https://u:p@hub"}});
  EXPECT_EQ(text.find(token), std::string::npos);
  EXPECT_EQ(text.find("u:p"), std::string::npos);
  EXPECT_NE(text.find("\nFATAL 69 rank=0 host="), std::string::npos) << text;
  EXPECT_NE(text.find(" what=first hf_<redacted> where=https://<redacted>@hub\n"),
            std::string::npos)
      << text;
}

}  // namespace
}  // namespace hone::recipes
