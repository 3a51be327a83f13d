#include "recipes/recipe.h"

#include "recipes/schema.h"
#include "recipes/yaml_value.h"
#include "tests/recipes/support.h"

namespace hone::recipes {
namespace {

using Recipes = RecipeTest;

TEST_F(Recipes, EveryKeyOfAWholeRecipeArrives) {
  const Recipe r = read(kWholeRecipe);
  EXPECT_EQ(r.model_name_or_path, "HuggingFaceTB/SmolLM2-135M-Instruct");
  EXPECT_EQ(r.dtype, "float32");
  EXPECT_EQ(r.adapter.r, 16);
  EXPECT_EQ(r.adapter.lora_alpha, 32);
  EXPECT_EQ(r.adapter.target_modules, std::vector<std::string>{"all-linear"});
  EXPECT_FALSE(r.adapter.target_modules_is_regex);
  ASSERT_EQ(r.datasets.size(), 1u);
  EXPECT_EQ(r.datasets[0].path, "data/train.jsonl");
  EXPECT_EQ(r.datasets[0].where, "r.yaml:6");
  ASSERT_EQ(r.eval_datasets.size(), 1u);
  EXPECT_EQ(r.dataset_options.max_length, 1024);
  EXPECT_TRUE(r.dataset_options.assistant_only_loss);
  EXPECT_TRUE(r.loader.packing);
  EXPECT_EQ(r.loader.gradient_accumulation_steps, 4);
  EXPECT_EQ(r.global_batch_size, 4);
  EXPECT_DOUBLE_EQ(r.train.schedule.learning_rate, 2e-4);
  EXPECT_EQ(r.train.schedule.type, trainer::ScheduleType::kCosine);
  EXPECT_DOUBLE_EQ(r.train.schedule.warmup_ratio, 0.03);
  EXPECT_EQ(r.train.max_steps, 100);
  EXPECT_EQ(r.train.eval_steps, 50);
  EXPECT_EQ(r.train.save_total_limit, 2);
  EXPECT_EQ(r.train.output_dir, "runs/demo");
  EXPECT_TRUE(r.hub.push);
  EXPECT_EQ(r.hub.model_id, "me/smollm2-debian");
  EXPECT_TRUE(r.notes.empty());
}

TEST_F(Recipes, SamplesAndSelectionArrive) {
  const Recipe r = read(kSound +
                        "eval_split: 0.5\neval_steps: 5\nsample_prompts: [one, two]\n"
                        "sample_max_new_tokens: 9\nearly_stopping_patience: 3\n"
                        "early_stopping_threshold: 0.01\nload_best_model_at_end: true\n"
                        "push_to_hub: true\nhub_model_id: me/x\nhub_strategy: every_save\n");
  EXPECT_EQ(r.sample_prompts, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(r.train.samples.steps, 5) << "sample_steps is eval_steps where it is not given";
  EXPECT_EQ(r.train.samples.max_new_tokens, 9);
  EXPECT_EQ(read(kSound + "eval_steps: 5\nsample_steps: 0\n").train.samples.steps, 0);
  EXPECT_EQ(r.train.selection.metric, "eval_loss");
  EXPECT_EQ(r.train.selection.early_stopping_patience, 3);
  EXPECT_EQ(r.train.selection.early_stopping_threshold, 0.01);
  EXPECT_TRUE(r.train.selection.load_best_model_at_end);
  EXPECT_TRUE(r.train.selection.keep_best);
  EXPECT_FALSE(read(kSound).train.selection.keep_best);
  EXPECT_TRUE(r.hub.every_save);
}

TEST_F(Recipes, DefaultsAreTheDocumentedOnes) {
  const Recipe r = read(kSound);
  EXPECT_EQ(r.adapter.r, 0) << "no adapter means full fine-tuning";
  EXPECT_FALSE(r.trains_adapter());
  EXPECT_EQ(r.dtype, "auto");
  EXPECT_EQ(r.model_revision, "main");
  EXPECT_EQ(r.loader.micro_batch_size, 1);
  EXPECT_EQ(r.loader.gradient_accumulation_steps, 1);
  EXPECT_EQ(r.global_batch_size, 1);
  EXPECT_EQ(r.train.optimizer.adam_beta1, 0.9);
  EXPECT_EQ(r.train.optimizer.adam_beta2, 0.999);
  EXPECT_EQ(r.train.optimizer.adam_epsilon, 1e-8);
  EXPECT_EQ(r.train.optimizer.weight_decay, 0);
  EXPECT_EQ(r.train.optimizer.max_grad_norm, 1.0);
  EXPECT_EQ(r.train.schedule.warmup_steps, 0);
  EXPECT_EQ(r.train.schedule.warmup_ratio, 0);
  EXPECT_EQ(r.train.max_steps, 0);
  EXPECT_EQ(r.num_train_epochs, 3);
  EXPECT_FALSE(r.hub.push);
  EXPECT_EQ(r.datasets[0].format, data::RowFormat::kMessages);
  EXPECT_EQ(r.dataset_options.on_bad_row, data::BadRowPolicy::kError);
}

TEST_F(Recipes, AdapterTargetsAreNamesARegexOrAllLinear) {
  const Recipe names = read(kSound + "adapter: {r: 4, target_modules: [q_proj, v_proj]}\n");
  EXPECT_EQ(names.adapter.target_modules, (std::vector<std::string>{"q_proj", "v_proj"}));
  EXPECT_FALSE(names.adapter.target_modules_is_regex);
  EXPECT_TRUE(
      read(kSound + "adapter: {target_modules: '.*_proj'}\n").adapter.target_modules_is_regex);
  EXPECT_EQ(read(kSound + "adapter: {}\n").adapter.r, 8);
}

TEST_F(Recipes, ContinuedAdapterTakesItsShapeFromItsFolder) {
  std::filesystem::create_directories(folder_ / "adapter");
  const Recipe r = read(kSound + "adapter: {path: adapter}\n");
  EXPECT_EQ(r.adapter_path, "adapter");
  EXPECT_FALSE(r.adapter.enabled());
  EXPECT_TRUE(r.trains_adapter());
  EXPECT_EQ(problem("adapter: {path: adapter, r: 4}\n"),
            "r.yaml:5: adapter.r: is read from the adapter in adapter.path: leave it out");
}

TEST_F(Recipes, DatasetKeysArrive) {
  const Recipe r = read(
      "recipe: sft\nmodel_name_or_path: m\noutput_dir: o\n"
      "datasets:\n"
      "  - path: data/train.jsonl\n"
      "    format: prompt_completion\n"
      "    columns: {prompt: question, completion: answer}\n"
      "    max_rows: 10\n"
      "    split: train\n"
      "system_prompt: |\n  Be brief.\n"
      "on_bad_row: skip\ncompletion_only_loss: false\n");
  EXPECT_EQ(r.datasets[0].format, data::RowFormat::kPromptCompletion);
  EXPECT_EQ(r.datasets[0].columns, (std::vector<std::pair<std::string, std::string>>{
                                       {"prompt", "question"}, {"completion", "answer"}}));
  EXPECT_EQ(r.datasets[0].max_rows, 10);
  EXPECT_EQ(r.datasets[0].split, "train");
  EXPECT_EQ(r.dataset_options.system_prompt, "Be brief.\n");
  EXPECT_EQ(r.dataset_options.on_bad_row, data::BadRowPolicy::kSkip);
  EXPECT_FALSE(r.dataset_options.completion_only_loss);
}

TEST_F(Recipes, NumbersMayBeWrittenAsUsersWriteThem) {
  for (const char* text : {"1e-4", "1.0e-4", "0.0001", ".0001", "+1E-4", "1.e-4"}) {
    EXPECT_DOUBLE_EQ(read(kSound + "learning_rate: " + text + "\n").train.schedule.learning_rate,
                     1e-4)
        << text;
  }
  EXPECT_EQ(read(kSound + "max_steps: 1e3\n").train.max_steps, 1000);
}

TEST_F(Recipes, NamesOfOtherToolsAreTakenWithANote) {
  const Recipe r = read(
      "recipe: sft\nbase_model: owner/model\noutput_dir: o\ndatasets: [{path: data/train.jsonl, "
      "type: alpaca}]\n"
      "adapter: lora\nlora_r: 32\nlora_target_modules: [q_proj]\nsequence_len: 256\nlr: 1e-3\n"
      "per_device_train_batch_size: 3\n");
  EXPECT_EQ(r.model_name_or_path, "owner/model");
  EXPECT_EQ(r.datasets[0].format, data::RowFormat::kAlpaca);
  EXPECT_EQ(r.adapter.r, 32);
  EXPECT_EQ(r.adapter.target_modules, std::vector<std::string>{"q_proj"});
  EXPECT_EQ(r.loader.max_length, 256);
  EXPECT_EQ(r.loader.micro_batch_size, 3);
  ASSERT_EQ(r.notes.size(), 8u);
  EXPECT_EQ(r.notes[0], "r.yaml:2: 'base_model' is taken as 'model_name_or_path'");
}

TEST_F(Recipes, SetOverridesAndCreatesKeys) {
  const Recipe r =
      read(kWholeRecipe, {"learning_rate=1e-3", "adapter.r=4", "datasets[0].max_rows=7", "seed=7",
                          "adapter.target_modules=[q_proj, k_proj]", "lr_scheduler_type=wsd",
                          "save_total_limit="});
  EXPECT_DOUBLE_EQ(r.train.schedule.learning_rate, 1e-3);
  EXPECT_EQ(r.adapter.r, 4);
  EXPECT_EQ(r.adapter.lora_alpha, 32);
  EXPECT_EQ(r.datasets[0].max_rows, 7);
  EXPECT_EQ(r.loader.seed, 7u);
  EXPECT_EQ(r.adapter.target_modules.size(), 2u);
  EXPECT_EQ(r.train.schedule.type, trainer::ScheduleType::kWsd);
  EXPECT_EQ(r.train.save_total_limit, 0) << "an empty value takes the default";
  EXPECT_EQ(read(kSound, {"adapter.r=4"}).adapter.r, 4);
  EXPECT_EQ(read(kSound, {"lora_r=4"}).adapter.r, 4);
  EXPECT_EQ(read(kSound, {"datasets.0.format=text"}).datasets[0].format, data::RowFormat::kText);
}

TEST_F(Recipes, SetWinsOverAnotherNameOfTheSameKey) {
  EXPECT_DOUBLE_EQ(read(kSound + "lr: 1e-4\n", {"learning_rate=1e-3"}).train.schedule.learning_rate,
                   1e-3);
}

TEST_F(Recipes, ResolvedRecipeReadsBackAsTheSameRecipe) {
  const Recipe r =
      read(kWholeRecipe + "system_prompt: \"two\\nlines: 'a'\"\nhub_revision: 'true'\n",
           {"adapter.modules_to_save=[lm_head]"});
  const std::string yaml = dump_yaml(r.resolved);
  EXPECT_EQ(read(yaml).resolved, r.resolved) << yaml;
}

TEST_F(Recipes, ResolvedRecipeOfAPlainRunReadsBackToo) {
  std::filesystem::create_directories(folder_ / "adapter");
  for (const char* lines : {"", "adapter: {path: adapter}\n", "adapter: {r: 4}\n",
                            "eval_split: 0.5\nmax_steps: 3\n", "warmup_steps: 3\n"}) {
    const Recipe r = read(kSound + lines);
    const Recipe again = read(dump_yaml(r.resolved));
    EXPECT_EQ(again.resolved, r.resolved) << lines;
    EXPECT_EQ(again.train.selection.keep_best, r.train.selection.keep_best) << lines;
  }
}

TEST_F(Recipes, ReportsGoWhereTheyAreAsked) {
  const ReportTargets usual = read(kSound).reports;
  EXPECT_TRUE(usual.tensorboard);
  EXPECT_TRUE(usual.html);
  EXPECT_EQ(usual.logging_dir, std::filesystem::path("runs/x/tensorboard"));
  const ReportTargets one = read(kSound + "report_to: tensorboard\nlogging_dir: logs\n").reports;
  EXPECT_TRUE(one.tensorboard);
  EXPECT_FALSE(one.html);
  EXPECT_EQ(one.logging_dir, std::filesystem::path("logs"));
  EXPECT_TRUE(read(kSound + "report_to: all\n").reports.html);
  const ReportTargets none = read(kSound + "report_to: [none]\n").reports;
  EXPECT_FALSE(none.tensorboard || none.html);
}

TEST_F(Recipes, UselessSettingsAreNoted) {
  EXPECT_EQ(read(kSound + "eval_steps: 5\n").notes.size(), 1u);
  EXPECT_EQ(read(kSound + "hub_model_id: me/x\n").notes.size(), 1u);
  EXPECT_EQ(read(kSound + "max_steps: 5\nnum_train_epochs: 2\n").notes.size(), 1u);
}

}  // namespace
}  // namespace hone::recipes
