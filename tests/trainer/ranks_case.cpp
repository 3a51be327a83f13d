#include "tests/trainer/ranks_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/json.h"
#include "models/flat_memory.h"
#include "models/spec/shard_plan.h"
#include "parallel/comm/mesh.h"
#include "tests/trainer/made_model.h"
#include "tests/trainer/support.h"
#include "trainer/gather.h"
#include "trainer/rank_bytes.h"
#include "trainer/step.h"

namespace hone::trainer {
namespace {

constexpr int64_t kSteps = 3;

// Where two runs must share the cache, each rank builds its own: ranks of a test may be threads.
std::vector<std::vector<data::MicroBatch>> steps_of(const RanksCase& wanted, int32_t vocab_size) {
  const int64_t per_step = wanted.rounds * RanksCase::kMaxRanks;
  const TempFolder cache;
  const data::Loader loader(tiny_data(cache.path()), {.packing = true,
                                                      .max_length = 48,
                                                      .micro_batch_size = 1,
                                                      .gradient_accumulation_steps = per_step,
                                                      .seed = 7});
  std::vector<std::vector<data::MicroBatch>> steps;
  for (int64_t step = 0; step < kSteps; ++step) {
    std::vector<data::MicroBatch> all;
    for (int64_t i = 0; i < per_step; ++i)
      all.push_back(loader.micro_batch(step, i % loader.num_micro_batches(step)));
    // One that trains nothing, one that trains little, and in the last step one less.
    std::ranges::fill(all[1].labels, -100);
    all[1].num_trained_tokens = 0;
    auto& labels = all[2].labels;
    std::fill(labels.begin(), labels.begin() + static_cast<std::ptrdiff_t>(labels.size() * 2 / 3),
              -100);
    all[2].num_trained_tokens = std::ranges::count_if(labels, [](int32_t l) { return l != -100; });
    if (step == kSteps - 1) all.pop_back();
    for (data::MicroBatch& micro_batch : all) {
      for (int32_t& id : micro_batch.input_ids) id %= vocab_size;
      for (int32_t& label : micro_batch.labels) label = label < 0 ? label : label % vocab_size;
    }
    steps.push_back(std::move(all));
  }
  return steps;
}

int64_t count_trained(const std::vector<data::MicroBatch>& micro_batches) {
  int64_t count = 0;
  for (const data::MicroBatch& micro_batch : micro_batches) count += micro_batch.num_trained_tokens;
  return count;
}

models::Model load(const RanksCase& wanted, const parallel::Mesh& mesh) {
  at::set_num_threads(1);
  const TempFolder made;
  const bool is_made = wanted.model.starts_with("made/");
  if (is_made) make_model(wanted.model.substr(5), made.path());
  const fs::path folder = is_made ? made.path() : golden(wanted.model);
  const auto costs = models::stage_costs(models::read_model_spec(folder), 48);
  parallel::Pipeline pipeline;
  if (mesh.layout.pp > 1) pipeline = parallel::make_pipeline(costs, mesh.layout.pp, wanted.chunks);
  models::LoadOptions options{.compute_dtype = wanted.bfloat16 ? at::kBFloat16 : at::kFloat,
                              .train_base = !wanted.lora,
                              .sharding = sharding_of(mesh, wanted.level, pipeline),
                              .groups = compute_groups(mesh)};
  options.groups.row_chunks = wanted.row_chunks;
  options.groups.head_chunks = wanted.head_chunks;
  if (wanted.lora_everywhere) {
    options.adapter.target_modules = {"q_proj", "v_proj", "down_proj", "embed_tokens", "lm_head"};
  }
  if (wanted.lora) {
    options.adapter.r = 4;
    options.adapter.lora_alpha = 8;
    options.adapter.lora_dropout = 0.1;
  }
  return models::load_model(folder, options);
}

using KeptOf = at::Tensor models::KeptPart::*;

// Whole masters or gradients, from what each rank owns.
std::vector<std::vector<float>> whole_of(KeptOf which, const models::Model& model,
                                         parallel::Mesh& mesh) {
  std::vector<std::vector<float>> tensors;
  for (const models::Stage& stage : model.stages) {
    const bool is_owner = !stage.is_copy && mesh.position().replicate == 0;
    for (const models::Parameter& parameter : stage.parameters) {
      if (!parameter.grad.defined()) continue;
      std::vector<float>& whole =
          tensors.emplace_back(static_cast<size_t>(c10::multiply_integers(parameter.shape)));
      const ParameterPart part = kept_part_of(stage, parameter);
      const at::Tensor kept = (stage.kept.*which).narrow(0, part.offset, part.size).contiguous();
      const auto runs = parallel::owned_runs(parameter.shape, parameter.slice,
                                             {part.begin, part.begin + part.size});
      for (const parallel::SliceRun& run : runs) {
        const float* from = kept.const_data_ptr<float>() + run.slice_begin - part.begin;
        if (is_owner) std::copy_n(from, run.count, whole.begin() + run.whole_begin);
      }
      mesh.host.all_reduce_ordered(whole.data(), whole.data(), static_cast<int64_t>(whole.size()),
                                   parallel::DType::kFloat32);
    }
  }
  return tensors;
}

std::vector<std::vector<float>> weights_of(const models::Model& model, parallel::Mesh& mesh) {
  return whole_of(&models::KeptPart::trainable, model, mesh);
}

}  // namespace

RanksCase RanksCase::on_one_rank() const {
  RanksCase one = *this;
  one.layout = {};
  one.overlap = false;
  one.row_chunks = one.head_chunks = 1;
  return one;
}

std::string RanksCase::name() const {
  std::string text = "replicate" + std::to_string(layout.dp_replicate) + "_shard" +
                     std::to_string(layout.dp_shard);
  if (layout.cp > 1) text += "_cp" + std::to_string(layout.cp);
  if (layout.tp > 1) text += "_tp" + std::to_string(layout.tp);
  if (layout.pp > 1) text += "_pp" + std::to_string(layout.pp);
  if (row_chunks > 1) text += "_rowchunks" + std::to_string(row_chunks);
  if (head_chunks > 1) text += "_headchunks" + std::to_string(head_chunks);
  if (chunks > 1) text += "_chunks" + std::to_string(chunks);
  if (layout.dp_shard > 1) text += "_level" + std::to_string(level);
  text += lora ? "_lora" : "_full";
  text += "_rounds" + std::to_string(rounds);
  if (bfloat16) text += "_bfloat16";
  if (model.starts_with("made/")) {
    text += "_" + model.substr(5);
  } else if (model != "tiny-chat") {
    text += "_untied";
  }
  if (lora_everywhere) text += "_everywhere";
  if (recompute) text += "_recompute";
  if (overlap) text += "_overlap";
  if (strict) text += "_strict";
  return text;
}

RanksOutcome run_ranks_case(parallel::Communicator& world, const RanksCase& wanted) {
  parallel::Mesh mesh = parallel::make_mesh(world, wanted.layout);
  models::Model model = load(wanted, mesh);
  const auto vocab_size = static_cast<int32_t>(model.spec.vocab_size);
  share_parameters(model, mesh);
  OptimizerState optimizer = make_optimizer_state(model);
  const auto first = weights_of(model, mesh);
  RanksOutcome outcome;
  const auto steps = steps_of(wanted, vocab_size);
  for (int64_t step = 0; step < kSteps; ++step) {
    const auto& all = steps[static_cast<size_t>(step)];
    const auto count = static_cast<int64_t>(all.size());
    std::vector<data::MicroBatch> own;
    for (const int64_t i : parallel::micro_batches_of(mesh.layout, mesh.rank, count))
      own.push_back(all[static_cast<size_t>(i)]);
    const auto actions = parallel::make_step(describe_stages(model), mesh.layout, mesh.rank,
                                             {.num_micro_batches = count,
                                              .recompute = wanted.recompute,
                                              .shard_level = wanted.level,
                                              .strict = wanted.strict,
                                              .overlap_reduce = wanted.overlap,
                                              .pipeline = model.sharding.pipeline});
    StepOptions options{.step = step,
                        .learning_rate = 1e-3,
                        .mesh = &mesh,
                        .strict = wanted.strict,
                        .overlap_reduce = wanted.overlap,
                        .num_micro_batches = count,
                        .num_trained_tokens = count_trained(all)};
    options.optimizer.weight_decay = 0.01;
    options.optimizer.max_grad_norm = 0.5;  // below the norms of these steps: clipping is at work
    const StepResult result = run_step(model, optimizer, actions, own, options);
    if (step == 0) outcome.gradients = whole_of(&models::KeptPart::grads, model, mesh);
    outcome.losses.push_back(result.loss_sum / static_cast<double>(result.num_trained_tokens));
    outcome.norms.push_back(result.grad_norm);
    outcome.tokens.push_back(result.num_tokens);
  }
  outcome.weights = weights_of(model, mesh);
  outcome.updates = outcome.weights;
  for (size_t i = 0; i < first.size(); ++i) {
    for (size_t j = 0; j < first[i].size(); ++j) outcome.updates[i][j] -= first[i][j];
  }
  outcome.kept_bytes = parameter_bytes(model) + gradient_bytes(model) + optimizer_bytes(optimizer);
  return outcome;
}

double largest_difference(const std::vector<std::vector<float>>& a,
                          const std::vector<std::vector<float>>& b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size()) return INFINITY;
    double apart = 0, size = 0;
    for (size_t j = 0; j < a[i].size(); ++j) {
      apart += std::pow(double(a[i][j]) - double(b[i][j]), 2);
      size += std::pow(double(b[i][j]), 2);
    }
    const double relative = apart == 0 ? 0 : std::sqrt(apart / size);
    if (!(relative <= largest)) largest = relative;
  }
  return largest;
}

std::string to_text(const RanksOutcome& outcome) {
  const auto bits = [](const std::vector<std::vector<float>>& tensors) {
    core::Json all = core::Json::array();
    for (const auto& tensor : tensors) {
      std::vector<uint32_t> words(tensor.size());
      std::memcpy(words.data(), tensor.data(), tensor.size() * sizeof(float));
      all.push_back(words);
    }
    return all;
  };
  // Numbers are written with as many digits as it takes to read the same double back.
  return core::Json{{"losses", outcome.losses},         {"norms", outcome.norms},
                    {"tokens", outcome.tokens},         {"weights", bits(outcome.weights)},
                    {"updates", bits(outcome.updates)}, {"gradients", bits(outcome.gradients)},
                    {"kept_bytes", outcome.kept_bytes}}
      .dump();
}

RanksOutcome outcome_from(const std::string& text) {
  const core::Json json = core::Json::parse(text);
  const auto floats = [](const core::Json& all) {
    std::vector<std::vector<float>> tensors;
    for (const auto& words : all) {
      const auto values = words.get<std::vector<uint32_t>>();
      auto& tensor = tensors.emplace_back(values.size());
      std::memcpy(tensor.data(), values.data(), values.size() * sizeof(float));
    }
    return tensors;
  };
  return {.losses = json.at("losses"),
          .norms = json.at("norms"),
          .tokens = json.at("tokens"),
          .weights = floats(json.at("weights")),
          .updates = floats(json.at("updates")),
          .gradients = floats(json.at("gradients")),
          .kept_bytes = json.at("kept_bytes")};
}

}  // namespace hone::trainer
