#include "trainer/evaluate.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "models/stage_walk.h"
#include "parallel/comm/agree.h"
#include "trainer/gather.h"
#include "trainer/numerical.h"
#include "trainer/step_numbers.h"

namespace hone::trainer {
namespace {

// One stage of this rank after the other, each with its parameters gathered while it computes and
// those of the next on their way.
class StageWalk {
 public:
  StageWalk(models::Model& model, parallel::Mesh& mesh)
      : model_(model),
        is_gathered_(model.sharding.shards(parallel::kShardParameters)),
        gather_(model, mesh) {
    for (size_t stage = 0; stage < model.stages.size(); ++stage) {
      if (model.sharding.computes(static_cast<int64_t>(stage)))
        stages_.push_back(static_cast<int64_t>(stage));
    }
  }

  // Calls visit(stage) for every stage that this rank computes. Collective.
  template <typename Visit>
  void run(const Visit& visit) {
    each(stages_.front(), [&](int64_t i) { gather_.start(i); });
    for (size_t i = 0; i < stages_.size(); ++i) {
      if (i + 1 < stages_.size()) each(stages_[i + 1], [&](int64_t s) { gather_.start(s); });
      each(stages_[i], [&](int64_t s) { gather_.wait(s); });
      visit(stages_[i]);
      each(stages_[i], [&](int64_t s) { gather_.free(s); });
    }
  }

 private:
  // The stages whose parameters `stage` computes with. With two stages the shared one would still
  // be there from before: models have at least one block.
  template <typename Call>
  void each(int64_t stage, const Call& call) {
    if (!is_gathered_) return;
    call(stage);
    const int64_t shared = model_.stages[static_cast<size_t>(stage)].shares_with;
    if (shared >= 0) call(shared);
  }

  models::Model& model_;
  const bool is_gathered_;
  std::vector<int64_t> stages_;
  ParameterGather gather_;
};

struct Place {
  int64_t step = 0, index = 0;  // of the loader
};

std::vector<Place> places_of(const data::Loader& loader) {
  std::vector<Place> places;
  for (int64_t step = 0; step < loader.num_steps_per_epoch(0); ++step) {
    for (int64_t index = 0; index < loader.num_micro_batches(step); ++index)
      places.push_back({step, index});
  }
  return places;
}

// Every rank takes part in the gathers; one without a micro-batch computes nothing.
kernels::HeadLoss loss_of(models::Model& model, StageWalk& walk,
                          const std::optional<data::MicroBatch>& micro_batch) {
  models::Batch batch;
  if (micro_batch) {
    batch = models::make_batch(model, micro_batch->input_ids, micro_batch->position_ids,
                               micro_batch->labels, micro_batch->cu_doc_lens);
  }
  const auto head = static_cast<int64_t>(model.stages.size()) - 1;
  const models::ForwardContext context;
  at::Tensor x_TD;
  kernels::HeadLoss loss;
  walk.run([&](int64_t stage) {
    if (!micro_batch) return;
    const auto index = static_cast<size_t>(stage);
    x_TD = models::input_of_stage(model, batch, index, x_TD);
    if (stage == head) {
      loss = model.head(x_TD, batch, 1.0, false, context);
      return;
    }
    x_TD = model.stages[index].forward(x_TD, batch, context);
    models::hand_on(model, index, x_TD);
  });
  return loss;
}

void check_finite(const models::Model& model, const data::Loader& loader,
                  const std::vector<Place>& places, const MicroBatchNumbers& numbers,
                  parallel::Mesh& mesh) {
  const int64_t bad = numbers.first_not_finite();
  if (bad < 0) return;
  parallel::together(mesh.host, [&] {
    if (!tells_numbers(model, mesh) || bad % mesh.data_size() != mesh.data_rank()) return;
    const Place& place = places[static_cast<size_t>(bad)];
    const data::MicroBatch micro_batch = loader.micro_batch(place.step, place.index);
    fail_not_finite(model, "the evaluation loss is not finite", numbers.loss_of(bad),
                    {&micro_batch, 1});
  });
}

EvalResult result_of(const MicroBatchNumbers& numbers) {
  EvalResult result{.num_trained_tokens = numbers.num_trained_tokens(),
                    .num_tokens = numbers.num_tokens(),
                    .by_source = numbers.by_source()};
  if (result.num_trained_tokens == 0) {
    core::fail(core::ErrorKind::kBadInput, {.what = "the evaluation data has no trained tokens"});
  }
  result.loss = numbers.loss_sum() / static_cast<double>(result.num_trained_tokens);
  result.perplexity = std::exp(result.loss);
  return result;
}

}  // namespace

std::optional<EvalResult> evaluate(models::Model& model, const data::Loader& loader,
                                   parallel::Mesh& mesh, const EvalHooks& hooks) {
  const at::NoGradGuard no_grad;
  const std::vector<Place> places = places_of(loader);
  const auto num_micro_batches = static_cast<int64_t>(places.size());
  MicroBatchNumbers numbers(num_micro_batches, loader.num_sources());
  StageWalk walk(model, mesh);
  // Asking waits for all ranks; in between a pipeline's work on several rounds at a time.
  const int64_t rounds_a_question = mesh.pipeline.size() == 1 ? 1 : 2 * mesh.pipeline.size();
  int64_t round = 0;
  for (int64_t begin = 0; begin < num_micro_batches; begin += mesh.data_size()) {
    const bool asks = hooks.should_stop && round++ % rounds_a_question == 0;
    if (asks && hooks.should_stop()) return std::nullopt;
    const int64_t own = begin + mesh.data_rank();
    std::optional<data::MicroBatch> micro_batch;
    if (own < num_micro_batches) {
      const Place& place = places[static_cast<size_t>(own)];
      micro_batch = loader.micro_batch(place.step, place.index);
    }
    const kernels::HeadLoss loss = loss_of(model, walk, micro_batch);
    if (micro_batch && tells_numbers(model, mesh))
      numbers.enter(own, *micro_batch, loss.loss_sum, loss.losses);
    const int64_t done = std::min(begin + mesh.data_size(), num_micro_batches);
    if (hooks.progress)
      hooks.progress(static_cast<double>(done) / static_cast<double>(num_micro_batches));
  }
  numbers.exchange(mesh);
  check_finite(model, loader, places, numbers, mesh);
  return result_of(numbers);
}

std::optional<EvalResult> evaluate(models::Model& model, const data::Loader& loader,
                                   const EvalHooks& hooks) {
  parallel::Mesh mesh = parallel::solo_mesh();
  return evaluate(model, loader, mesh, hooks);
}

}  // namespace hone::trainer
