#include "trainer/train.h"

#include <gtest/gtest.h>

#include <cmath>
#include <csignal>

#include "tests/trainer/small_run.h"
#include "trainer/evaluate.h"

namespace hone::trainer {
namespace {

TEST(Train, WritesRowsCheckpointsFinalFolderAndRunFile) {
  SmallRun run(false);
  run.options.save_steps = 2;
  run.options.save_total_limit = 2;
  run.options.eval_steps = 3;
  const TrainResult result = run.train();
  EXPECT_EQ(result.step, 6);
  EXPECT_FALSE(result.stopped_by_signal);
  EXPECT_LT(*result.last_eval_loss, *result.first_eval_loss);

  std::vector<int64_t> eval_steps, train_steps;
  int64_t tokens = 0;
  for (const Json& row : run.metrics()) {
    if (row.contains("eval_loss")) {
      eval_steps.push_back(row.at("step"));
      continue;
    }
    train_steps.push_back(row.at("step"));
    EXPECT_GT(row.at("tokens").get<int64_t>(), tokens);
    tokens = row.at("tokens");
    EXPECT_GT(row.at("tokens_per_second").get<double>(), 0);
    EXPECT_GT(row.at("grad_norm").get<double>(), 0);
  }
  EXPECT_EQ(eval_steps, (std::vector<int64_t>{0, 3, 6}));
  EXPECT_EQ(train_steps, (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(run.metrics()[1].at("learning_rate"), 0.0);  // step 1 is update 0 of the warm-up

  const auto checkpoints = list_checkpoints(run.out.path());
  ASSERT_EQ(checkpoints.size(), 2u);
  EXPECT_EQ(checkpoints[0].first, 4);
  EXPECT_EQ(checkpoints[1].first, 6);
  expect_same_files(run.out.path(), checkpoints[1].second,
                    {"model.safetensors", "config.json", "tokenizer.json"});
  EXPECT_NO_THROW(models::load_model(run.out.path(), {}));

  const Json json = run.run_json();
  EXPECT_EQ(json.at("recipe"), "sft");
  EXPECT_EQ(json.at("outcome").at("status"), "finished");
  EXPECT_EQ(json.at("layout").at("tp"), 1);
  const int64_t num_parameters = models::num_parameters(tiny_model(false));
  EXPECT_EQ(json.at("param_bytes"), Json::array({4 * num_parameters}));
  EXPECT_EQ(json.at("optimizer_bytes"), Json::array({8 * num_parameters}));
  EXPECT_GT(json.at("startup_seconds").get<double>(), 0);
  for (const char* part : {"data", "forward", "loss", "backward", "optimizer", "evaluate", "save"})
    EXPECT_GT(json.at("seconds").at(part).get<double>(), 0) << part;
  EXPECT_EQ(json.at("seconds").at("generate"), 0.0);
  EXPECT_GT(json.at("memory").at("peak_rss_bytes").get<int64_t>(), int64_t{1} << 20);
  EXPECT_EQ(json.at("throughput").at("tokens"), tokens);
  EXPECT_EQ(json.at("throughput").at("flops_share"), 0.0);  // no measured rate was given
}

void expect_halves_equal_whole(bool lora, int64_t logging_steps) {
  SmallRun whole(lora, 0.1), halves(lora, 0.1);
  for (SmallRun* run : {&whole, &halves}) {
    run->options.logging_steps = logging_steps;
    run->options.eval_steps = 2;
  }
  whole.train();
  halves.options.max_steps = 3;
  EXPECT_EQ(halves.train().step, 3);
  halves.options.max_steps = 6;
  const TrainResult second = halves.train(true);
  EXPECT_EQ(second.step, 6);
  EXPECT_EQ(halves.timeless_metrics(), whole.timeless_metrics());
  expect_same_files(whole.out.path(), halves.out.path(),
                    {lora ? "adapter_model.safetensors" : "model.safetensors"});
  expect_same_files(whole.out / "checkpoint-6", halves.out / "checkpoint-6", kStateFiles);
  EXPECT_EQ(*second.first_eval_loss, whole.metrics()[0].at("eval_loss").get<double>());
}

TEST(Resume, ThreeAndThreeStepsEqualSixBitwiseFull) { expect_halves_equal_whole(false, 1); }
TEST(Resume, ThreeAndThreeStepsEqualSixBitwiseLoraWithDropout) {
  expect_halves_equal_whole(true, 1);
}
TEST(Resume, RowsThatSpanTheInterruptionAreTheSame) { expect_halves_equal_whole(true, 2); }

TEST(Resume, DropoutIsDrawnAtAll) {
  SmallRun with(true, 0.3), without(true, 0.0);
  with.train();
  without.train();
  EXPECT_NE(with.timeless_metrics(), without.timeless_metrics());
}

TEST(Resume, AfterADamagedCheckpointTheOlderOneGivesTheSameEnd) {
  SmallRun whole(true), damaged(true);
  for (SmallRun* run : {&whole, &damaged}) {
    run->options.save_steps = 2;
    run->train();
  }
  fs::resize_file(damaged.out / "checkpoint-6/state/exp_avg.safetensors", 9);
  damaged.train(true);
  EXPECT_EQ(damaged.timeless_metrics(), whole.timeless_metrics());
  EXPECT_NO_THROW(verify_checkpoint(damaged.out / "checkpoint-6"));
  expect_same_files(whole.out.path(), damaged.out.path(), {"adapter_model.safetensors"});
}

TEST(Resume, FinishedRunResumesToNothingMore) {
  SmallRun run(true);
  run.train();
  const std::string metrics = slurp(run.out / "metrics.jsonl");
  EXPECT_EQ(run.train(true).step, 6);
  EXPECT_EQ(slurp(run.out / "metrics.jsonl"), metrics);
}

TEST(Resume, OtherRunIsRefusedAndItsFolderLeftAlone) {
  SmallRun run(true);
  run.options.max_steps = 2;
  run.train();
  const std::string metrics = slurp(run.out / "metrics.jsonl");
  run.options.identity["model"] = "another";
  expect_failure([&] { run.train(true); }, core::ErrorKind::kBadRecipe,
                 {"checkpoint-2", "tiny-chat", "another"});
  EXPECT_EQ(slurp(run.out / "metrics.jsonl"), metrics);
}

TEST(Stop, SignalSavesAndTheRunGoesOnAsIfNothingHappened) {
  SmallRun whole(true, 0.1), stopped(true, 0.1);
  for (SmallRun* run : {&whole, &stopped}) run->options.logging_steps = 4;
  whole.train();

  models::Model model = tiny_model(true, 0.1);
  int64_t num_heads = 0;
  const auto head = model.head;
  stopped.with_eval = false;
  model.head = [&](const at::Tensor& x_TD, const models::Batch& batch, double scale, bool want_grad,
                   const models::ForwardContext& context) {
    if (++num_heads == 5) ::raise(SIGTERM);  // two micro-batches a step: in the third step
    return head(x_TD, batch, scale, want_grad, context);
  };
  const TrainResult result = stopped.train(model);
  EXPECT_TRUE(result.stopped_by_signal);
  EXPECT_EQ(result.step, 3);
  EXPECT_FALSE(fs::exists(stopped.out / "adapter_model.safetensors"));
  EXPECT_EQ(stopped.run_json().at("outcome").at("status"), "stopped");
  EXPECT_NO_THROW(verify_checkpoint(stopped.out / "checkpoint-3"));

  EXPECT_EQ(stopped.train(true).step, 6);
  expect_same_files(whole.out.path(), stopped.out.path(), {"adapter_model.safetensors"});
  expect_same_files(whole.out / "checkpoint-6", stopped.out / "checkpoint-6",
                    {kStateFiles[0], kStateFiles[1]});
}

TEST(Stop, SignalDuringTheFirstEvaluationLosesNoRow) {
  SmallRun whole(true), stopped(true);
  whole.train();
  models::Model model = tiny_model(true);
  const auto head = model.head;
  bool raised = false;
  model.head = [&](const at::Tensor& x_TD, const models::Batch& batch, double scale, bool want_grad,
                   const models::ForwardContext& context) {
    if (!std::exchange(raised, true)) ::raise(SIGUSR1);
    return head(x_TD, batch, scale, want_grad, context);
  };
  const TrainResult result = stopped.train(model);
  EXPECT_TRUE(result.stopped_by_signal);
  EXPECT_EQ(result.step, 0);
  stopped.train(true);
  EXPECT_EQ(stopped.timeless_metrics(), whole.timeless_metrics());
}

TEST(NonFinite, LossStopsWithoutSavingAndSaysSoInRunJson) {
  SmallRun run(false);
  run.with_eval = false;
  run.options.save_steps = 1;
  models::Model model = tiny_model(false);
  int64_t num_heads = 0;
  const auto head = model.head;
  model.head = [&](const at::Tensor& x_TD, const models::Batch& batch, double scale, bool want_grad,
                   const models::ForwardContext& context) {
    auto result = head(x_TD, batch, scale, want_grad, context);
    if (++num_heads == 5) result.loss_sum = std::nan("");
    return result;
  };
  expect_failure([&] { run.train(model); }, core::ErrorKind::kNumerical, {"step 3", "samples "});
  ASSERT_EQ(list_checkpoints(run.out.path()).size(), 2u);
  EXPECT_EQ(find_resumable(run.out.path())->filename(), "checkpoint-2");
  EXPECT_EQ(run.metrics().size(), 2u);
  EXPECT_EQ(run.run_json().at("outcome").at("status"), "failed");
  EXPECT_FALSE(fs::exists(run.out / "model.safetensors"));
}

TEST(Logging, LossIsTheMeanOverTrainedTokensSinceTheLastRow) {
  SmallRun each(true), pairs(true);
  pairs.options.logging_steps = 2;
  each.with_eval = pairs.with_eval = false;
  each.train();
  pairs.train();
  const data::Loader loader(tiny_data(each.cache.path()), {.packing = true,
                                                           .max_length = 64,
                                                           .micro_batch_size = 2,
                                                           .gradient_accumulation_steps = 2,
                                                           .seed = 42});
  const double first = each.metrics()[0].at("loss"), second = each.metrics()[1].at("loss");
  const auto n0 = static_cast<double>(loader.num_trained_tokens(0)),
             n1 = static_cast<double>(loader.num_trained_tokens(1));
  EXPECT_NEAR(pairs.metrics()[0].at("loss").get<double>(), (first * n0 + second * n1) / (n0 + n1),
              1e-12);
  EXPECT_EQ(pairs.metrics()[0].at("step"), 2);
}

TEST(Evaluate, MeanOverTrainedTokensDoesNotDependOnHowRowsAreGrouped) {
  TempFolder cache;
  models::Model model = tiny_model(false);
  const auto rows = tiny_data(cache.path(), "test.jsonl");
  const auto single = evaluate(model, data::Loader(rows, {.max_length = 64, .shuffle = false}));
  const auto packed = evaluate(
      model,
      data::Loader(rows,
                   {.packing = true, .max_length = 64, .micro_batch_size = 2, .shuffle = false}));
  EXPECT_EQ(single->num_trained_tokens, packed->num_trained_tokens);
  EXPECT_EQ(single->num_trained_tokens, rows.totals().num_trained_tokens);
  EXPECT_NEAR(single->loss, packed->loss, 1e-6);
  EXPECT_NEAR(single->perplexity, std::exp(single->loss), 1e-9);
  EXPECT_NEAR(single->loss, std::log(512.0), 0.5);  // random weights know nothing
}

}  // namespace
}  // namespace hone::trainer
