#include "trainer/resume.h"

#include <chrono>

#include "core/log.h"
#include "parallel/comm/agree.h"
#include "trainer/gather.h"
#include "trainer/identity.h"
#include "trainer/selection.h"

namespace hone::trainer {
namespace {

namespace fs = std::filesystem;

bool goes_on(const TrainOptions& options, const TrainerState& state) {
  return state.step < options.max_steps && !wants_early_stop(options.selection, state.selection);
}

// A best checkpoint that was deleted can't be loaded at the end: the choice begins anew.
void check_best(const TrainInputs& inputs, const TrainOptions& options, TrainerState& state) {
  if (!options.selection.load_best_model_at_end || !state.selection.best_metric) return;
  const fs::path best = checkpoint_of_step(inputs, options, state.selection.best_step);
  if (fs::exists(best)) return;
  spdlog::warn("{}, the best so far, is gone: the best is chosen from what follows",
               best.filename().string());
  state.selection = {.last_step = state.selection.last_step};
}

}  // namespace

TrainerState start_state(const TrainInputs& inputs, const TrainOptions& options,
                         OptimizerState& optimizer, int64_t horizon) {
  if (!inputs.resume_from) return {.horizon = horizon};
  const fs::path& checkpoint = *inputs.resume_from;
  check_identity(read_manifest(checkpoint).identity, options.identity, checkpoint);
  TrainerState state = load_checkpoint(checkpoint, inputs.model, optimizer);
  if (state.horizon != horizon) {
    spdlog::warn(
        "the learning rate schedule now ends at step {}, it was {}: set scheduler_steps to keep it",
        horizon, state.horizon);
  }
  state.horizon = horizon;
  check_best(inputs, options, state);
  spdlog::info("resuming from {} at step {}", checkpoint.string(), state.step);
  return state;
}

TrainerState start_together(const TrainInputs& inputs, const TrainOptions& options,
                            parallel::Mesh& mesh, OptimizerState& optimizer, int64_t horizon,
                            double& load_seconds) {
  const auto begin = std::chrono::steady_clock::now();
  TrainerState state;
  parallel::together(mesh.host, [&] { state = start_state(inputs, options, optimizer, horizon); });
  share_parameters(inputs.model, mesh);
  load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return state;
}

std::optional<ResumePoint> resume_point(const TrainInputs& inputs, const TrainOptions& options,
                                        const TrainerState& state) {
  if (!inputs.resume_from) return std::nullopt;
  const bool ended = !goes_on(options, state);
  const int64_t step = state.step;
  return ResumePoint{.step = step,
                     .keep_train_row = ended || is_due(step, options.logging_steps),
                     .keep_eval_row = ended || step == 0 || is_due(step, options.eval_steps)};
}

JsonlFile::Keep samples_to_keep(const TrainInputs& inputs, const TrainOptions& options,
                                const TrainerState& state) {
  if (!inputs.resume_from) return {};
  const int64_t step = state.step;
  const bool keep_own =
      !goes_on(options, state) || step == 0 || is_due(step, options.samples.steps);
  return [=](const core::Json& row) {
    const int64_t row_step = row.at("step");
    return row_step < step || (row_step == step && keep_own);
  };
}

fs::path checkpoint_of_step(const TrainInputs& inputs, const TrainOptions& options, int64_t step) {
  const fs::path path = checkpoint_path(options.output_dir, step);
  if (fs::exists(path) || !inputs.resume_from) return path;
  return checkpoint_path(inputs.resume_from->parent_path(), step);
}

}  // namespace hone::trainer
