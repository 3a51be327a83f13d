#include "trainer/selection.h"

#include <gtest/gtest.h>

#include <csignal>

#include "tests/trainer/small_run.h"

namespace hone::trainer {
namespace {

SelectionState after(const SelectionOptions& options, const std::vector<double>& losses) {
  SelectionState state;
  for (size_t i = 0; i < losses.size(); ++i) {
    take_evaluation(options, {{"step", static_cast<int64_t>(i) + 1}, {"eval_loss", losses[i]}},
                    state);
  }
  return state;
}

TEST(Selection, PatienceCountsEvaluationsWithoutAnImprovementAboveTheThreshold) {
  const SelectionOptions options{.early_stopping_patience = 2, .early_stopping_threshold = 0.05};
  EXPECT_FALSE(wants_early_stop(options, after(options, {1.0, 0.9, 0.88})));
  // As EarlyStoppingCallback: 0.88 becomes the best, and is what the next is compared with.
  EXPECT_TRUE(wants_early_stop(options, after(options, {1.0, 0.9, 0.88, 0.84})));
  EXPECT_FALSE(wants_early_stop(options, after(options, {1.0, 0.9, 0.88, 0.8})));
  EXPECT_EQ(after(options, {1.0, 0.9, 0.88, 0.84}).best_step, 4);
}

TEST(Selection, BestIsTheFirstOfEqualsAndOfTheDirectionAskedFor) {
  const std::vector<double> losses{0.7, 0.5, 0.9, 0.5, 0.9};
  EXPECT_EQ(after({}, losses).best_step, 2);
  EXPECT_EQ(after({.greater_is_better = true}, losses).best_step, 3);
  EXPECT_EQ(*after({.greater_is_better = true}, losses).best_metric, 0.9);
}

TEST(Selection, AnEvaluationIsCountedOnce) {
  SelectionState state = after({}, {0.5, 0.6});
  EXPECT_FALSE(take_evaluation({}, {{"step", 2}, {"eval_loss", 0.1}}, state));
  EXPECT_EQ(state.num_bad_evaluations, 1);
  EXPECT_EQ(*state.best_metric, 0.5);
}

TEST(Selection, WithoutPatienceNothingStops) {
  EXPECT_FALSE(wants_early_stop({}, after({}, {1, 2, 3, 4, 5, 6})));
}

// The tiny model's loss falls with every update, so "greater is better" makes its first counted
// evaluation the best.
void make_first_best(SmallRun& run) {
  run.options.eval_steps = 2;
  run.options.selection = {
      .greater_is_better = true, .keep_best = true, .load_best_model_at_end = true};
}

TEST(LoadBest, OutputHoldsTheBestCheckpointWhichNoLimitDeletes) {
  SmallRun run(true);
  make_first_best(run);
  run.options.save_steps = 1;
  run.options.save_total_limit = 1;
  const TrainResult result = run.train();
  EXPECT_EQ(result.step, 6);
  EXPECT_EQ(result.model_step, 2);
  EXPECT_GT(*result.model_eval_loss, *result.last_eval_loss);
  std::vector<int64_t> steps;
  for (const auto& [step, path] : list_checkpoints(run.out.path())) steps.push_back(step);
  EXPECT_EQ(steps, (std::vector<int64_t>{2, 6}));
  expect_same_files(run.out.path(), run.out / "checkpoint-2", {"adapter_model.safetensors"});
  EXPECT_NE(slurp(run.out / "adapter_model.safetensors"),
            slurp(run.out / "checkpoint-6/adapter_model.safetensors"));
  const Json json = run.run_json();
  EXPECT_EQ(json.at("best").at("best_step"), 2);
  EXPECT_EQ(json.at("best").at("best_model_checkpoint"), "checkpoint-2");
  EXPECT_EQ(json.at("best").at("best_metric"), *result.model_eval_loss);
  EXPECT_EQ(json.at("outcome").at("model_step"), 2);
}

TEST(LoadBest, ANewBestIsSavedAtOnceWhateverSaveStepsSays) {
  SmallRun run(true);
  make_first_best(run);
  run.train();
  EXPECT_NO_THROW(verify_checkpoint(run.out / "checkpoint-2"));
  EXPECT_FALSE(fs::exists(run.out / "checkpoint-4"));
}

TEST(LoadBest, TheLastEvaluationCountsThoughNoStepOfEvalSteps) {
  SmallRun run(true);
  run.options.eval_steps = 4;
  run.options.selection.load_best_model_at_end = true;
  EXPECT_EQ(run.train().model_step, 6);
  expect_same_files(run.out.path(), run.out / "checkpoint-6", {"adapter_model.safetensors"});
  EXPECT_EQ(run.train(true).model_step, 6);  // resumed with nothing to do
}

TEST(LoadBest, ADamagedBestCheckpointIsAnErrorAndNoOtherModel) {
  SmallRun run(true);
  make_first_best(run);
  run.train();
  fs::remove(run.out / "adapter_model.safetensors");
  fs::resize_file(run.out / "checkpoint-2/adapter_model.safetensors", 9);
  expect_failure([&] { run.train(true); }, core::ErrorKind::kBadInput, {"checkpoint-2"});
  EXPECT_FALSE(fs::exists(run.out / "adapter_model.safetensors"));
}

TEST(LoadBest, ResumedRunChoosesAsAnUninterruptedOne) {
  SmallRun whole(true, 0.1), halves(true, 0.1);
  for (SmallRun* run : {&whole, &halves}) {
    make_first_best(*run);
    run->options.selection.early_stopping_patience = 3;
  }
  whole.train();
  halves.options.max_steps = 3;  // its last evaluation is one the whole run does not have
  halves.train();
  halves.options.max_steps = 6;
  halves.train(true);
  EXPECT_EQ(halves.timeless_metrics(), whole.timeless_metrics());
  EXPECT_EQ(halves.run_json().at("best"), whole.run_json().at("best"));
  expect_same_files(whole.out.path(), halves.out.path(), {"adapter_model.safetensors"});
  expect_same_files(whole.out / "checkpoint-6", halves.out / "checkpoint-6", kStateFiles);
}

TEST(LoadBest, SignalDuringABestEvaluationLosesNothing) {
  SmallRun whole(true), stopped(true);
  for (SmallRun* run : {&whole, &stopped}) make_first_best(*run);
  whole.train();
  models::Model model = tiny_model(true);
  const auto head = model.head;
  int64_t num_evaluated = 0;
  model.head = [&](const at::Tensor& x_TD, const models::Batch& batch, double scale, bool want_grad,
                   const models::ForwardContext& context) {
    if (!want_grad && ++num_evaluated == 9) ::raise(SIGTERM);  // eight rows: in the second one
    return head(x_TD, batch, scale, want_grad, context);
  };
  EXPECT_TRUE(stopped.train(model).stopped_by_signal);
  stopped.train(true);
  EXPECT_EQ(stopped.timeless_metrics(), whole.timeless_metrics());
  EXPECT_EQ(stopped.run_json().at("best"), whole.run_json().at("best"));
  expect_same_files(whole.out.path(), stopped.out.path(), {"adapter_model.safetensors"});
}

void stop_after_two(SmallRun& run) {
  run.options.max_steps = 20;
  run.options.eval_steps = 1;
  run.options.logging_steps = 3;
  run.options.selection = {
      .greater_is_better = true, .keep_best = true, .early_stopping_patience = 2};
  run.sample_prompts = {"What is pkg3?"};
  run.options.samples = {.steps = 100, .max_new_tokens = 4};
}

TEST(EarlyStopping, EndsTheRunWithTheRowsSamplesAndModelOfALastStep) {
  SmallRun run(true);
  stop_after_two(run);
  const TrainResult result = run.train();
  EXPECT_TRUE(result.stopped_early);
  EXPECT_FALSE(result.stopped_by_signal);
  EXPECT_LT(result.step, 20);
  EXPECT_EQ(result.model_step, result.step);  // load_best_model_at_end was not asked for
  EXPECT_EQ(run.metrics().back().at("step"), result.step);
  EXPECT_EQ(run.rows_of("samples.jsonl").back().at("step"), result.step);
  expect_same_files(run.out.path(), run.out / ("checkpoint-" + std::to_string(result.step)),
                    {"adapter_model.safetensors"});
  EXPECT_EQ(run.run_json().at("outcome").at("status"), "finished");
  EXPECT_EQ(run.run_json().at("outcome").at("stopped_early"), true);
}

TEST(EarlyStopping, ResumedItHasNothingToDoUntilPatienceIsRaised) {
  SmallRun patient(true), stopped(true);
  for (SmallRun* run : {&patient, &stopped}) stop_after_two(*run);
  patient.options.selection.early_stopping_patience = 4;
  const int64_t last_step = patient.train().step;
  const int64_t first_stop = stopped.train().step;
  ASSERT_LT(first_stop, last_step);
  const std::string metrics = stopped.timeless_metrics();
  EXPECT_EQ(stopped.train(true).step, first_stop);
  EXPECT_EQ(stopped.timeless_metrics(), metrics);
  stopped.options.selection.early_stopping_patience = 4;
  EXPECT_EQ(stopped.train(true).step, last_step);
  EXPECT_EQ(stopped.timeless_metrics(), patient.timeless_metrics());
  EXPECT_EQ(slurp(stopped.out / "samples.jsonl"), slurp(patient.out / "samples.jsonl"));
  expect_same_files(patient.out.path(), stopped.out.path(), {"adapter_model.safetensors"});
}

}  // namespace
}  // namespace hone::trainer
