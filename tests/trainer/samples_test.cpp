#include "trainer/samples.h"

#include <gtest/gtest.h>

#include <csignal>

#include "tests/trainer/small_run.h"

namespace hone::trainer {
namespace {

const std::vector<std::string> kPrompts{"What is pkg3?", "What is pkg9?"};

void sample_every_two(SmallRun& run) {
  run.sample_prompts = kPrompts;
  run.options.samples = {.steps = 2, .max_new_tokens = 8};
}

TEST(Samples, AreWrittenBeforeAtDueStepsAndAfterInThePromptsOrder) {
  SmallRun run(true);
  sample_every_two(run);
  run.options.max_steps = 5;
  run.train();
  std::vector<int64_t> steps;
  std::vector<std::string> prompts;
  for (const Json& row : run.rows_of("samples.jsonl")) {
    steps.push_back(row.at("step"));
    prompts.push_back(row.at("prompt"));
    EXPECT_GE(row.at("num_tokens").get<int64_t>(), 1);
    EXPECT_LE(row.at("num_tokens").get<int64_t>(), 8);
    EXPECT_FALSE(row.contains("reference"));
  }
  EXPECT_EQ(steps, (std::vector<int64_t>{0, 0, 2, 2, 4, 4, 5, 5}));
  for (size_t i = 0; i < prompts.size(); ++i) EXPECT_EQ(prompts[i], kPrompts[i % 2]);
  EXPECT_GT(run.run_json().at("seconds").at("generate").get<double>(), 0);
}

TEST(Samples, TextIsTheGreedyAnswerOfTheModelAtThatStep) {
  SmallRun run(true);
  sample_every_two(run);
  run.options.save_steps = 2;
  run.train();
  const auto tokenizer = data::Tokenizer::load(golden("tiny-chat"));
  const models::Model model = models::load_model(
      golden("tiny-chat"), {.train_base = false, .adapter_path = run.out / "checkpoint-4"});
  const auto prompt = make_sample_prompt(tokenizer, kPrompts[1], "");
  const auto ids =
      generate(model, prompt.ids,
               {.max_new_tokens = 8,
                .greedy = true,
                .eos_token_ids = end_token_ids(model, golden("tiny-chat"), tokenizer)});
  const Json row = run.rows_of("samples.jsonl").at(5);
  EXPECT_EQ(row.at("step"), 4);
  EXPECT_EQ(row.at("text"), tokenizer.decode(ids, true));
  EXPECT_EQ(row.at("num_tokens"), ids.size());
}

TEST(Samples, LeaveEveryBitOfTheTrainingAsItIs) {
  for (const bool lora : {true, false}) {
    SmallRun with(lora, 0.1), without(lora, 0.1);
    sample_every_two(with);
    with.train();
    without.train();
    EXPECT_EQ(with.timeless_metrics(), without.timeless_metrics());
    EXPECT_FALSE(fs::exists(without.out / "samples.jsonl"));
    expect_same_files(with.out.path(), without.out.path(),
                      {lora ? "adapter_model.safetensors" : "model.safetensors"});
    expect_same_files(with.out / "checkpoint-6", without.out / "checkpoint-6", kStateFiles);
  }
}

TEST(Samples, ResumedRunHasTheRowsOfAnUninterruptedOne) {
  SmallRun whole(true), halves(true);
  for (SmallRun* run : {&whole, &halves}) sample_every_two(*run);
  whole.train();
  halves.options.max_steps = 3;
  halves.train();
  EXPECT_EQ(halves.rows_of("samples.jsonl").back().at("step"), 3);
  halves.options.max_steps = 6;
  halves.train(true);
  EXPECT_EQ(slurp(halves.out / "samples.jsonl"), slurp(whole.out / "samples.jsonl"));
  halves.train(true);  // nothing is left to do
  EXPECT_EQ(slurp(halves.out / "samples.jsonl"), slurp(whole.out / "samples.jsonl"));
}

TEST(Samples, SignalBeforeADueSampleLosesNoRow) {
  SmallRun whole(true), stopped(true);
  for (SmallRun* run : {&whole, &stopped}) {
    sample_every_two(*run);
    run->with_eval = false;
  }
  whole.train();
  models::Model model = tiny_model(true);
  const auto forward = model.stages[1].forward;
  bool raised = false;
  // Samples don't walk the stages: the third pass is in the second step.
  int64_t num_passes = 0;
  model.stages[1].forward = [&](const at::Tensor& x, const models::Batch& batch,
                                const models::ForwardContext& context) {
    if (++num_passes == 3 && !std::exchange(raised, true)) ::raise(SIGTERM);
    return forward(x, batch, context);
  };
  EXPECT_TRUE(stopped.train(model).stopped_by_signal);
  EXPECT_EQ(stopped.rows_of("samples.jsonl").back().at("step"), 0);
  stopped.train(true);
  EXPECT_EQ(slurp(stopped.out / "samples.jsonl"), slurp(whole.out / "samples.jsonl"));
}

TEST(SamplePrompts, OfRowsEndWhereTrainingStartsAndBringTheAnswer) {
  TempFolder cache;
  const auto tokenizer = data::Tokenizer::load(golden("tiny-chat"));
  data::DatasetSource source;
  source.path = golden("tiny-chat") / "test.jsonl";
  const auto rows = data::prepare_dataset({source}, {.max_length = 64, .assistant_only_loss = true},
                                          tokenizer, cache.path());
  const auto prompts = sample_prompts_of(rows, 2, tokenizer);
  ASSERT_EQ(prompts.size(), 2u);
  const SamplePrompt asked = make_sample_prompt(tokenizer, "What is pkg32?", "");
  EXPECT_EQ(prompts[0].ids, asked.ids);
  EXPECT_NE(prompts[0].text.find("What is pkg32?"), std::string::npos);
  ASSERT_TRUE(prompts[1].reference);
  EXPECT_NE(prompts[1].reference->find("pkg33 is a compiler that draws pictures."),
            std::string::npos);
}

TEST(SamplePrompts, RowsThatTrainEverythingHaveNone) {
  TempFolder cache;
  const auto tokenizer = data::Tokenizer::load(golden("tiny-chat"));
  EXPECT_TRUE(sample_prompts_of(tiny_data(cache.path()), 3, tokenizer).empty());
}

}  // namespace
}  // namespace hone::trainer
