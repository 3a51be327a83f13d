// What a plan says of a rank's memory before a run against what the run has.
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "parallel/comm/threads.h"
#include "recipes/plan/plan.h"
#include "tests/support/tensor_bytes.h"
#include "tests/trainer/ranks_model.h"
#include "trainer/rank_bytes.h"
#include "trainer/step.h"

namespace hone::trainer {
namespace {

constexpr double kBound = 0.1;
constexpr int64_t kTokens = 2048;

struct PlanCase {
  parallel::Layout layout;
  bool lora = false, recompute = false;
  int64_t level = 3;
  bool bfloat16 = false;

  std::string name() const {
    std::ostringstream name;
    name << (lora ? "lora" : "full") << (recompute ? "_recompute" : "")
         << (bfloat16 ? "_bf16" : "");
    const auto axis = [&](const char* key, int64_t size) {
      if (size > 1) name << '_' << key << size;
    };
    axis("dp", layout.dp_replicate);
    axis("shard", layout.dp_shard);
    if (layout.dp_shard > 1) name << "_level" << level;
    axis("cp", layout.cp);
    axis("tp", layout.tp);
    axis("pp", layout.pp);
    return name.str();
  }
};

void PrintTo(const PlanCase& wanted, std::ostream* out) { *out << wanted.name(); }

recipes::PlanInput input_of(const PlanCase& wanted, const models::Model& model) {
  recipes::PlanInput input{.spec = model.spec,
                           .adapter = model.adapter,
                           .layout = wanted.layout,
                           .pipeline = model.sharding.pipeline,
                           .shard_level = wanted.level,
                           .recompute = wanted.recompute,
                           .is_bfloat16 = wanted.bfloat16,
                           .row_tokens = kTokens,
                           .accumulation = 2,
                           .hardware = recipes::find_hardware("cpu")};
  if (input.pipeline.num_stages == 0) input.pipeline = recipes::plan_pipeline(input);
  return input;
}

struct RankBytesHere {
  recipes::KeptBytes kept;
  int64_t peak = 0;
};

RankBytesHere measure(models::Model& model, parallel::Mesh& mesh, const PlanCase& wanted) {
  test::TensorBytes tensor_bytes;
  OptimizerState optimizer = make_optimizer_state(model);
  const int64_t count = 2 * mesh.layout.data_parallel_size();
  const auto actions = parallel::make_step(describe_stages(model), mesh.layout, mesh.rank,
                                           {.num_micro_batches = count,
                                            .recompute = wanted.recompute,
                                            .shard_level = wanted.level,
                                            .pipeline = model.sharding.pipeline});
  const std::vector<data::MicroBatch> own(2, one_document(kTokens, model.spec.vocab_size));
  for (int64_t step = 0; step < 2; ++step) {
    tensor_bytes.restart();
    run_step(model, optimizer, actions, own,
             {.step = step,
              .mesh = &mesh,
              .num_micro_batches = count,
              .num_trained_tokens = count * (kTokens - 1)});
  }
  return {{.parameters = parameter_bytes(model),
           .gradients = gradient_bytes(model),
           .optimizer = optimizer_bytes(optimizer)},
          tensor_bytes.peak()};
}

class PlannedBytes : public testing::TestWithParam<PlanCase> {};

TEST_P(PlannedBytes, AreThoseThatARankHas) {
  const PlanCase& wanted = GetParam();
  const ModelFolder folder("made/eight");
  const auto num_ranks = static_cast<size_t>(wanted.layout.num_ranks());
  std::vector<RankBytesHere> measured(num_ranks);
  std::vector<recipes::PlanInput> inputs(num_ranks);
  parallel::run_ranks(static_cast<int>(num_ranks), [&](parallel::Communicator& world) {
    parallel::Mesh mesh = parallel::make_mesh(world, wanted.layout);
    models::Model model = folder.load(mesh, wanted.lora, !wanted.lora, wanted.level,
                                      wanted.bfloat16 ? at::kBFloat16 : at::kFloat);
    share_parameters(model, mesh);
    const auto rank = static_cast<size_t>(world.rank());
    inputs[rank] = input_of(wanted, model);
    measured[rank] = measure(model, mesh, wanted);
  });
  const recipes::Plan plan = recipes::make_plan(inputs[0]);
  const auto kept = recipes::kept_bytes(inputs[0], plan.table);
  for (size_t rank = 0; rank < num_ranks; ++rank) {
    EXPECT_EQ(kept[rank].parameters, measured[rank].kept.parameters) << "rank " << rank;
    EXPECT_EQ(kept[rank].gradients, measured[rank].kept.gradients) << "rank " << rank;
    EXPECT_EQ(kept[rank].optimizer, measured[rank].kept.optimizer) << "rank " << rank;
    const int64_t planned = plan.memory.total_by_rank[rank] - kept[rank].total();
    EXPECT_NEAR(static_cast<double>(planned) / static_cast<double>(measured[rank].peak), 1, kBound)
        << "rank " << rank << ": " << planned << " planned, " << measured[rank].peak
        << " measured beside what is kept";
    RecordProperty("rank" + std::to_string(rank),
                   std::to_string(planned) + " planned, " + std::to_string(measured[rank].peak));
  }
}

std::vector<PlanCase> cases() {
  std::vector<PlanCase> all;
  for (const bool lora : {false, true}) {
    for (const bool recompute : {false, true}) {
      for (const parallel::Layout& layout : {parallel::Layout{},
                                             {.dp_replicate = 2},
                                             {.dp_shard = 2},
                                             {.tp = 2},
                                             {.cp = 2},
                                             {.pp = 2},
                                             {.dp_shard = 2, .tp = 2}})
        all.push_back({.layout = layout, .lora = lora, .recompute = recompute});
    }
    for (const int64_t level : {1, 2})
      all.push_back({.layout = {.dp_shard = 2}, .lora = lora, .level = level});
  }
  for (const parallel::Layout& layout : {parallel::Layout{}, {.dp_shard = 2}, {.tp = 2}})
    all.push_back({.layout = layout, .bfloat16 = true});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Layouts, PlannedBytes, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name(); });

}  // namespace
}  // namespace hone::trainer
