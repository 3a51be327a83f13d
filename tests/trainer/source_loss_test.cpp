#include "trainer/source_loss.h"

#include "tests/trainer/support.h"
#include "trainer/checkpoint.h"
#include "trainer/evaluate.h"
#include "trainer/step.h"
#include "trainer/train.h"

namespace hone::trainer {
namespace {

using core::Json;

// train.jsonl and test.jsonl of the tiny model as two datasets.
data::TokenCache two_datasets(const fs::path& cache_root) {
  const auto tokenizer = data::Tokenizer::load(golden("tiny-chat"));
  const data::DatasetSource large{.path = golden("tiny-chat") / "train.jsonl"},
      small{.path = golden("tiny-chat") / "test.jsonl"};
  return data::prepare_dataset({large, small}, {.max_length = 64}, tokenizer, cache_root);
}

class TwoDatasets : public testing::Test {
 protected:
  data::Loader loader(std::vector<double> weights = {}) {
    return data::Loader(two_datasets(cache_.path()), {.packing = true,
                                                      .max_length = 64,
                                                      .micro_batch_size = 2,
                                                      .gradient_accumulation_steps = 2,
                                                      .weights = std::move(weights)});
  }
  TempFolder cache_;
};

TEST_F(TwoDatasets, LossesOfTheDatasetsAddUpToTheStep) {
  models::Model model = tiny_model(true);
  OptimizerState optimizer = make_optimizer_state(model);
  const data::Loader data = loader();
  const auto batches = micro_batches_of(data, 0);
  const auto actions = parallel::make_step(
      describe_stages(model), {}, 0, {.num_micro_batches = static_cast<int64_t>(batches.size())});
  const StepResult result = run_step(model, optimizer, actions, batches, {.num_sources = 2});
  ASSERT_EQ(result.by_source.size(), 2u);
  EXPECT_GT(result.by_source[0].num_trained_tokens, 0);
  EXPECT_GT(result.by_source[1].num_trained_tokens, 0);
  EXPECT_EQ(result.by_source[0].num_trained_tokens + result.by_source[1].num_trained_tokens,
            result.num_trained_tokens);
  EXPECT_NEAR((result.by_source[0].loss_sum + result.by_source[1].loss_sum) / result.loss_sum, 1.0,
              1e-12);
}

TEST_F(TwoDatasets, EvaluationOfBothIsTheEvaluationOfEach) {
  models::Model model = tiny_model(true);
  const EvalResult both = *evaluate(model, loader());
  ASSERT_EQ(both.by_source.size(), 2u);
  const char* files[] = {"train.jsonl", "test.jsonl"};
  for (size_t s = 0; s < 2; ++s) {
    const TempFolder cache;
    const EvalResult one =
        *evaluate(model, data::Loader(tiny_data(cache.path(), files[s]), {.max_length = 64}));
    EXPECT_TRUE(one.by_source.empty());
    EXPECT_EQ(both.by_source[s].num_trained_tokens, one.num_trained_tokens);
    const auto tokens = static_cast<double>(one.num_trained_tokens);
    EXPECT_NEAR(both.by_source[s].loss_sum / tokens / one.loss, 1.0, 1e-5);
  }
}

TEST(SourceLoss, EachDocumentsLossesGoToItsDataset) {
  const data::MicroBatch batch{.labels = {5, -100, 6, 7, -100, 8},
                               .cu_doc_lens = {0, 2, 4, 6},
                               .sample_ids = {0, 1, 2},
                               .source_ids = {1, 0, 1}};
  const std::vector<double> losses{1, 2, 4, 8};
  SourceLosses sums(3), none;
  add_losses(batch, losses, sums);
  EXPECT_EQ(sums, (SourceLosses{{6, 2}, {9, 2}, {0, 0}}));
  add_losses(batch, losses, none);
  EXPECT_TRUE(none.empty());
  const Json json = losses_json(sums, {"a", "b", "c"});
  EXPECT_EQ(json, Json::parse(R"({"a": {"loss": 3.0, "trained_tokens": 2},
                                  "b": {"loss": 4.5, "trained_tokens": 2}})"));
}

// A weighted run of both datasets, to `max_steps`, going on from what is there if asked to.
void run_weighted(const fs::path& out, const fs::path& cache, int64_t max_steps, bool resume) {
  models::Model model = tiny_model(true, 0.1);
  const data::Loader train_data(
      two_datasets(cache),
      {.packing = true, .max_length = 64, .gradient_accumulation_steps = 2, .weights = {1, 1}});
  const data::Loader eval_data(two_datasets(cache), {.max_length = 64, .shuffle = false});
  TrainOptions options;
  options.max_steps = max_steps;
  options.logging_steps = 4;  // the interruption after 5 lies between two rows
  options.output_dir = out;
  options.schedule = {.learning_rate = 1e-2, .scheduler_steps = 12};
  options.identity = {{"seed", 42}};
  TrainInputs inputs{.model = model,
                     .train_data = train_data,
                     .eval_data = &eval_data,
                     .train_names = {"large", "small"},
                     .eval_names = {"large", "small"},
                     .model_folder = golden("tiny-chat")};
  if (resume) inputs.resume_from = find_resumable(out);
  train(inputs, options);
}

std::vector<Json> rows_of(const fs::path& out) {
  std::vector<Json> rows;
  std::istringstream lines(slurp(out / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    rows.push_back(Json::parse(line));
    rows.back().erase("tokens_per_second");
  }
  return rows;
}

TEST_F(TwoDatasets, MetricsHoldTheLossOfEachAndAResumedMixIsTheSameRun) {
  const TempFolder whole, halves;
  run_weighted(whole.path(), cache_.path(), 12, false);
  run_weighted(halves.path(), cache_.path(), 5, false);
  run_weighted(halves.path(), cache_.path(), 12, true);
  const auto rows = rows_of(whole.path());
  EXPECT_EQ(rows, rows_of(halves.path()));
  EXPECT_EQ(slurp(whole / "adapter_model.safetensors"),
            slurp(halves / "adapter_model.safetensors"));
  int num_train = 0, num_eval = 0;
  for (const Json& row : rows) {
    const bool is_eval = row.contains("eval_loss");
    ++(is_eval ? num_eval : num_train);
    double sum = 0, tokens = 0;
    for (const auto& [name, dataset] : row.at(is_eval ? "eval_datasets" : "datasets").items()) {
      const double count = dataset.at("trained_tokens");
      sum += dataset.at("loss").get<double>() * count;
      tokens += count;
    }
    EXPECT_NEAR(sum / tokens / row.at(is_eval ? "eval_loss" : "loss").get<double>(), 1.0, 1e-12);
  }
  EXPECT_EQ(num_train, 3);
  EXPECT_EQ(num_eval, 2);
}

}  // namespace
}  // namespace hone::trainer
