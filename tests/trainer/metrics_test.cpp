#include "trainer/metrics.h"

#include <gtest/gtest.h>

#include "tests/trainer/support.h"

namespace hone::trainer {
namespace {

TEST(Metrics, NumbersSurviveTheRoundTripToTheLastBit) {
  const TrainRow row{.step = 3,
                     .loss = 1.0 / 3.0,
                     .learning_rate = 2e-4 * 0.97,
                     .grad_norm = 0.1 + 0.2,
                     .num_tokens = 123456789012,
                     .tokens_per_second = 17.25,
                     .flops_share = 0.7};
  const core::Json json = core::Json::parse(train_row_json(row));
  EXPECT_EQ(json.at("step"), 3);
  EXPECT_EQ(json.at("loss").get<double>(), 1.0 / 3.0);
  EXPECT_EQ(json.at("learning_rate").get<double>(), 2e-4 * 0.97);
  EXPECT_EQ(json.at("grad_norm").get<double>(), 0.1 + 0.2);
  EXPECT_EQ(json.at("tokens"), 123456789012);
  EXPECT_EQ(json.at("tokens_per_second"), 17.25);
  EXPECT_EQ(json.at("flops_share"), 0.7);
  EXPECT_EQ(json.size(), 7u);
  EXPECT_EQ(eval_row_json(50, 0.5), R"({"step":50,"eval_loss":0.5})");
}

TEST(Metrics, CommunicationIsListedByAxis) {
  TrainRow row{.step = 1};
  row.communication = Communication{
      .num_bytes = 7, .exposed_seconds = 0.5, .axes = {{"dp_shard", 40, 0.25}, {"tp", 9, 0.125}}};
  const core::Json json = core::Json::parse(train_row_json(row));
  EXPECT_EQ(json.at("comm_bytes"), 7);
  EXPECT_EQ(json.at("exposed_comm_seconds"), 0.5);
  EXPECT_EQ(
      json.at("communication").dump(),
      R"({"dp_shard":{"bytes":40,"exposed_seconds":0.25},"tp":{"bytes":9,"exposed_seconds":0.125}})");
}

TEST(Metrics, NewFileForgetsAnOlderRun) {
  TempFolder folder;
  write_text(folder / "metrics.jsonl", "{\"step\":9}\n");
  MetricsFile metrics(folder / "metrics.jsonl");
  metrics.append("{\"step\":1}");
  EXPECT_EQ(slurp(folder / "metrics.jsonl"), "{\"step\":1}\n");
}

TEST(Metrics, ResumeDropsRowsPastTheCheckpointTornLinesAndKeepsTheRestAsItIs) {
  TempFolder folder;
  const std::string kept =
      "{\"step\":0,\"eval_loss\":2.0}\n{\"step\": 1, \"loss\":0.30000000000000004}\n{\"step\":2}\n";
  write_text(folder / "metrics.jsonl",
             kept + "{\"step\":3}\n{\"step\":4,\"eval_loss\":1}\nnot json\n{\"step\":2,\"lo");
  MetricsFile metrics(folder / "metrics.jsonl",
                      ResumePoint{.step = 2, .keep_train_row = true, .keep_eval_row = true});
  EXPECT_EQ(slurp(folder / "metrics.jsonl"), kept);
  EXPECT_NE(metrics.eval_row(0), nullptr);
  EXPECT_EQ(metrics.eval_row(4), nullptr);
  metrics.append("{\"step\":3}");
  EXPECT_EQ(slurp(folder / "metrics.jsonl"), kept + "{\"step\":3}\n");
}

TEST(Metrics, RowsMadeOnlyBecauseTheRunEndedAreDropped) {
  TempFolder folder;
  const std::string rows = "{\"step\":4,\"loss\":1}\n{\"step\":4,\"eval_loss\":1}\n";
  write_text(folder / "metrics.jsonl", rows);
  { MetricsFile metrics(folder / "metrics.jsonl", ResumePoint{.step = 4, .keep_eval_row = true}); }
  EXPECT_EQ(slurp(folder / "metrics.jsonl"), "{\"step\":4,\"eval_loss\":1}\n");
  { MetricsFile metrics(folder / "metrics.jsonl", ResumePoint{.step = 4}); }
  EXPECT_EQ(slurp(folder / "metrics.jsonl"), "");
}

TEST(Metrics, ResumeWithoutAFileStartsOne) {
  TempFolder folder;
  MetricsFile metrics(folder / "metrics.jsonl", ResumePoint{.step = 2});
  EXPECT_TRUE(fs::exists(folder / "metrics.jsonl"));
}

}  // namespace
}  // namespace hone::trainer
