// What is said about a recipe that is wrong.
#include <ctime>

#include "tests/recipes/support.h"

namespace hone::recipes {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr double kMaxSeconds = 10;
#else
constexpr double kMaxSeconds = 1;
#endif

using BadRecipe = RecipeTest;

TEST_F(BadRecipe, TypoSuggestsTheKey) {
  EXPECT_EQ(problem("lerning_rate: 1.0e-4\n"),
            "r.yaml:5: lerning_rate: unknown key, did you mean 'learning_rate'?");
  EXPECT_EQ(problem("adapter:\n  lora_alhpa: 3\n"),
            "r.yaml:6: adapter.lora_alhpa: unknown key, did you mean 'lora_alpha'?");
  EXPECT_EQ(problem("wibble: 3\n"), "r.yaml:5: wibble: unknown key");
}

TEST_F(BadRecipe, ChoosingAmongEvaluationsThatDontHappenIsNamedForEveryKey) {
  const std::string lines =
      "load_best_model_at_end: true\nearly_stopping_patience: 2\nmetric_for_best_model: "
      "eval_loss\n";
  const auto without_data = problems(kSound + lines + "sample_eval_rows: 2\n");
  ASSERT_EQ(without_data.size(), 7u);
  EXPECT_EQ(without_data[0],
            "r.yaml:5: load_best_model_at_end: needs eval_datasets or eval_split: nothing is "
            "evaluated");
  EXPECT_EQ(without_data[6], "r.yaml:8: sample_eval_rows: needs eval_datasets or eval_split");
  const auto without_steps = problems(kSound + lines + "eval_split: 0.5\n");
  ASSERT_EQ(without_steps.size(), 3u);
  EXPECT_EQ(
      without_steps[1],
      "r.yaml:6: early_stopping_patience: needs eval_steps above 0: only the last model would "
      "be compared");
  EXPECT_TRUE(problems(kSound + lines + "eval_split: 0.5\neval_steps: 5\n").empty());
  EXPECT_TRUE(problems(kSound + "load_best_model_at_end: false\n").empty());
}

TEST_F(BadRecipe, ReportersThatAreNotThereAreNamed) {
  EXPECT_EQ(problem("report_to: [html, tensorbord]\n"),
            "r.yaml:5: report_to: got 'tensorbord', expected one of tensorboard, html, all, none, "
            "did you mean 'tensorboard'?");
  EXPECT_EQ(problem("report_to: [html, none]\n"),
            "r.yaml:5: report_to: got none in a list, expected it alone");
}

TEST_F(BadRecipe, KeyAtTheWrongLevelIsToldWhereItBelongs) {
  EXPECT_EQ(problem("r: 8\n"), "r.yaml:5: r: unknown key, did you mean 'adapter.r'?");
  EXPECT_EQ(problem("adapter: {seed: 8}\n"),
            "r.yaml:5: adapter.seed: unknown key, did you mean 'seed'?");
}

TEST_F(BadRecipe, DuplicateNamesBothLines) {
  EXPECT_EQ(problem("seed: 1\nseed: 2\n"), "r.yaml:6: duplicate key 'seed', first on line 5");
  EXPECT_EQ(problem("learning_rate: 1e-4\nlr: 1e-3\n"),
            "r.yaml:6: lr: is another name of 'learning_rate', which is on line 5");
  EXPECT_EQ(problem("adapter: {r: 4}\nlora_r: 8\n"),
            "r.yaml:6: lora_r: is another name of 'adapter.r', which is on line 5");
}

TEST_F(BadRecipe, WrongTypeSaysGotAndExpected) {
  EXPECT_EQ(problem("max_steps: many\n"),
            "r.yaml:5: max_steps: got 'many', expected a whole number, at least 1");
  EXPECT_EQ(problem("max_steps: 1.5\n"),
            "r.yaml:5: max_steps: got '1.5', expected a whole number, at least 1");
  EXPECT_EQ(problem("learning_rate: 3e-4x\n"),
            "r.yaml:5: learning_rate: got '3e-4x', expected a number, above 0 and at most 100");
  EXPECT_EQ(problem("learning_rate: [1]\n"),
            "r.yaml:5: learning_rate: got a list, expected a number, above 0 and at most 100");
  EXPECT_EQ(problem("learning_rate: .nan\n"),
            "r.yaml:5: learning_rate: got '.nan', expected a number, above 0 and at most 100");
  EXPECT_EQ(problem("learning_rate: inf\n"),
            "r.yaml:5: learning_rate: got 'inf', expected a number, above 0 and at most 100");
  EXPECT_EQ(problem("packing: yes\n"), "r.yaml:5: packing: got 'yes', expected true or false");
  EXPECT_EQ(problem("adapter: 4\n"),
            "r.yaml:5: adapter: got '4', expected a map of type, path, r, lora_alpha, "
            "lora_dropout, target_modules, "
            "modules_to_save, use_rslora");
  EXPECT_EQ(problem("adapter: {modules_to_save: lm_head}\n"),
            "r.yaml:5: adapter.modules_to_save: got 'lm_head', expected a list of text (for "
            "example [first, second])");
  EXPECT_EQ(
      problem("eval_datasets: [data/test.jsonl]\n"),
      "r.yaml:5: eval_datasets[0]: got 'data/test.jsonl', expected a map (for example [{path: "
      "rows.jsonl, format: messages}])");
  EXPECT_EQ(problem("adapter:\n  target_modules:\n    - q_proj\n    - {}\n"),
            "r.yaml:8: adapter.target_modules: got a map in the list, expected text");
}

TEST_F(BadRecipe, QuotedNumbersAreTextAndTheHintSaysSo) {
  EXPECT_EQ(problem("learning_rate: \"1e-4\"\n"),
            "r.yaml:5: learning_rate: got \"1e-4\", expected a number, above 0 and at most 100 "
            "(quoted, it is text: take the "
            "quotes away)");
  EXPECT_EQ(problem("packing: 'true'\n"),
            "r.yaml:5: packing: got \"true\", expected true or false (quoted, it is text: take the "
            "quotes away)");
}

TEST_F(BadRecipe, OutOfRangeSaysTheRange) {
  EXPECT_EQ(problem("learning_rate: -1\n"),
            "r.yaml:5: learning_rate: got '-1', expected a number, above 0 and at most 100");
  EXPECT_EQ(problem("save_total_limit: 0\n"),
            "r.yaml:5: save_total_limit: got '0', expected a whole number, at least 1");
  EXPECT_EQ(problem("adam_beta1: 1\n"),
            "r.yaml:5: adam_beta1: got '1', expected a number, at least 0 and below 1");
  EXPECT_EQ(problem("adapter: {lora_dropout: 1.0}\n"),
            "r.yaml:5: adapter.lora_dropout: got '1.0', expected a number, at least 0 and below 1");
  EXPECT_EQ(problem("max_steps: 99999999999999999999\n"),
            "r.yaml:5: max_steps: got '99999999999999999999', expected a whole number, at least 1");
}

TEST_F(BadRecipe, ChoicesAreListedAndTheNearestSuggested) {
  EXPECT_EQ(problem("lr_scheduler_type: cosin\n"),
            "r.yaml:5: lr_scheduler_type: got 'cosin', expected one of linear, cosine, constant, "
            "wsd, did you mean 'cosine'?");
  EXPECT_EQ(problem("dtype: int4\n"),
            "r.yaml:5: dtype: got 'int4', expected one of auto, float32, bfloat16");
}

TEST_F(BadRecipe, MissingKeysAreNamed) {
  EXPECT_EQ(problems("recipe: sft\n"),
            (std::vector<std::string>{"r.yaml:1: model_name_or_path: missing, expected text",
                                      "r.yaml:1: datasets: missing, expected a list of maps",
                                      "r.yaml:1: output_dir: missing, expected text"}));
  EXPECT_EQ(problems("").size(), 4u);
  EXPECT_EQ(problem("eval_datasets:\n  - format: text\n"),
            "r.yaml:6: eval_datasets[0].path: missing, expected text");
  EXPECT_EQ(problems("recipe: sft\nmodel_name_or_path:\ndatasets: [{path: "
                     "data/train.jsonl}]\noutput_dir: x\n"),
            std::vector<std::string>{"r.yaml:2: model_name_or_path: got nothing, expected text"});
}

TEST_F(BadRecipe, EveryProblemComesAtOnceInLineOrder) {
  const auto found = problems(
      "recipe: sft\n"
      "model_name_or_path: owner/model\n"
      "lerning_rate: 1.0e-3\n"
      "learning_rate: -1\n"
      "max_steps: many\n"
      "seed: 1\n"
      "seed: 2\n"
      "datasets: [{path: nowhere.jsonl, format: mesages}]\n"
      "output_dir: out\n"
      "push_to_hub: true\n");
  ASSERT_EQ(found.size(), 7u);
  const std::vector<std::string> starts{
      "r.yaml:3: lerning_rate",       "r.yaml:4: learning_rate",
      "r.yaml:5: max_steps",          "r.yaml:7: duplicate key 'seed'",
      "r.yaml:8: datasets[0].format", "r.yaml:8: datasets[0].path",
      "r.yaml:10: push_to_hub"};
  for (size_t i = 0; i < starts.size(); ++i)
    EXPECT_TRUE(found[i].starts_with(starts[i])) << found[i];
}

TEST_F(BadRecipe, HostileYamlIsRefusedQuickly) {
  std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c <= 'i'; ++c) {
    bomb += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 10; ++i)
      bomb += std::string(i > 0 ? "," : "") + "*" + static_cast<char>(c - 1);
    bomb += "]\n";
  }
  const std::vector<std::pair<std::string, std::string>> cases{
      {bomb, "more than 100,000 values"},
      {std::string(100'000, '['), "nested deeper than 64 levels"},
      {std::string(2 << 20, '#'), "file is too large"},
      {"recipe: sft\n\tseed: 1\n", "tab in the indentation"},
      {std::string("recipe: s\0ft\n", 13), "NUL byte"},
      {"recipe: \xff\n", "not valid UTF-8"},
      {"recipe: [sft\nseed: 1\n", "not valid YAML"},
      {"- recipe\n- sft\n", "got a list, expected key: value lines"}};
  for (const auto& [text, message] : cases) {
    const std::clock_t start = std::clock();
    const auto found = problems(text);
    const double cpu_seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    EXPECT_LT(cpu_seconds, kMaxSeconds) << message;
    ASSERT_EQ(found.size(), 1u) << message;
    EXPECT_NE(found[0].find(message), std::string::npos) << found[0];
  }
}

TEST_F(BadRecipe, PathsThatAreNotThereAreRecipeErrors) {
  EXPECT_NE(problem("eval_datasets: [{path: data/none.jsonl}]\n")
                .find("got 'data/none.jsonl': no such file or folder"),
            std::string::npos);
  for (const char* path : {"./owner/name", "a/b/c", "owner/name.csv.gz", "name"}) {
    EXPECT_NE(problem("eval_datasets: [{path: " + std::string(path) + "}]\n").find("no such file"),
              std::string::npos)
        << path;
  }
  EXPECT_NE(problem("eval_datasets: [{path: 'none/*.jsonl'}]\n").find("no file matches"),
            std::string::npos);
  EXPECT_TRUE(problems(kSound + "eval_datasets: [{path: owner/name, revision: v1}]\n").empty());
  EXPECT_EQ(
      problem("", {"model_name_or_path=./nowhere"}),
      "--set model_name_or_path: got './nowhere', expected a folder or an id: no such folder");
  EXPECT_NE(
      problem("", {"model_name_or_path=bad id"}).find("got 'bad id', expected a folder or an id"),
      std::string::npos);
}

TEST_F(BadRecipe, KeysThatExcludeOrNeedEachOther) {
  EXPECT_EQ(problem("warmup_ratio: 0.1\nwarmup_steps: 5\n"),
            "r.yaml:6: warmup_steps: can't be given beside warmup_ratio");
  EXPECT_EQ(problem("eval_split: 0.1\neval_datasets: [{path: data/test.jsonl}]\n"),
            "r.yaml:5: eval_split: can't be given beside eval_datasets");
  EXPECT_EQ(problem("eval_split: 2.5\n"),
            "r.yaml:5: eval_split: got 2.5, expected a fraction below 1 or a whole number of rows");
  EXPECT_EQ(problem("push_to_hub: true\n"),
            "r.yaml:5: push_to_hub: needs hub_model_id: owner/name");
  EXPECT_NE(problem("push_to_hub: true\nhub_model_id: nameonly\n")
                .find("r.yaml:6: hub_model_id: got 'nameonly', expected owner/name"),
            std::string::npos);
}

TEST_F(BadRecipe, OverridesAreReportedByName) {
  EXPECT_EQ(
      problem("", {"seed=-1"}),
      "--set seed: got '-1', expected a whole number, at least 0 and at most 9007199254740992");
  EXPECT_EQ(problem("", {"sede=1"}), "--set sede: unknown key, did you mean 'seed'?");
  EXPECT_EQ(problem("", {"seed"}), "--set seed: got 'seed', expected key=value");
  EXPECT_EQ(problem("", {"datasets[4].path=x"}),
            "--set datasets[4].path: the list has no such entry");
  EXPECT_NE(problem("", {"adapter={r: "}).find("--set adapter: not valid YAML"), std::string::npos);
}

TEST_F(BadRecipe, LocalModelThatIsNoModelKeepsItsOwnExitCode) {
  test::write_text(folder_ / "model/config.json",
                   R"({"architectures": ["FalconForCausalLM"], "model_type": "falcon"})");
  const std::string recipe =
      "recipe: sft\nmodel_name_or_path: model\noutput_dir: o\ndatasets: [{path: "
      "data/train.jsonl}]\n";
  try {
    read(recipe);
    FAIL() << "no error";
  } catch (const core::Error& e) {
    EXPECT_EQ(e.exit_code(), 65);
    EXPECT_NE(std::string(e.what()).find("FalconForCausalLM"), std::string::npos) << e.what();
  }
  const auto found = problems(recipe + "seed: x\n");
  ASSERT_EQ(found.size(), 2u) << "beside a recipe error it is listed with the rest";
  EXPECT_NE(found[0].find("FalconForCausalLM"), std::string::npos) << found[0];
}

TEST_F(BadRecipe, MissingFileIsMissingInput) {
  try {
    load_recipe("none.yaml");
    FAIL() << "no error";
  } catch (const core::Error& e) {
    EXPECT_EQ(e.exit_code(), 66);
    EXPECT_NE(std::string(e.what()).find("none.yaml"), std::string::npos);
  }
}

}  // namespace
}  // namespace hone::recipes
