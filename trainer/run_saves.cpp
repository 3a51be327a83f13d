#include "trainer/run_saves.h"

#include "core/error.h"
#include "core/log.h"
#include "parallel/comm/agree.h"
#include "trainer/selection.h"

namespace hone::trainer {
namespace fs = std::filesystem;

RunSaves::RunSaves(const TrainInputs& inputs, const TrainOptions& options, parallel::Mesh& mesh,
                   RunFiles& files, Progress& progress, Timeline& timeline,
                   std::function<void()> on_saved)
    : inputs_(inputs),
      options_(options),
      mesh_(mesh),
      files_(files),
      progress_(progress),
      timeline_(timeline),
      on_saved_(std::move(on_saved)) {}

void RunSaves::start(const OptimizerState& optimizer, const TrainerState& state, bool is_pushed) {
  finish();
  const Timeline::Span span = timeline_.part(Part::kSave);
  parallel::together(mesh_.host, [&] {
    if (files_.metrics) files_.metrics->sync();
    if (files_.samples) files_.samples->sync();
    if (files_.ledger) files_.ledger->sync();
  });
  save_.emplace(options_.output_dir,
                CheckpointSource{.model = inputs_.model,
                                 .optimizer = optimizer,
                                 .state = state,
                                 .model_folder = inputs_.model_folder,
                                 .save_dtype = options_.save_dtype,
                                 .identity = options_.identity},
                mesh_);
  selection_ = state.selection;
  is_pushed_ = is_pushed;
}

void RunSaves::advance() {
  if (save_ && advance_save()) end_save();
}

void RunSaves::finish() {
  if (!save_) return;
  const Timeline::Span span = timeline_.action(Part::kSave, [] { return "finish save"; });
  do {
    save_->wait();
  } while (!advance_save());
  end_save();
}

void RunSaves::wait_until_read() {
  if (save_) save_->wait_until_read();
}

void RunSaves::keep_under_way() {
  try {
    finish();
  } catch (const core::Error& error) {
    if (mesh_.rank == 0) spdlog::warn("the checkpoint under way is lost: {}", error.what());
  }
}

// One that failed is over.
bool RunSaves::advance_save() {
  try {
    return save_->advance();
  } catch (const std::exception&) {
    save_.reset();
    throw;
  }
}

void RunSaves::end_save() {
  const fs::path path = save_->path();
  const SaveTimes times = save_->times();
  save_.reset();
  progress_.message("saved " + path.string());
  on_saved_();
  parallel::together(mesh_.host, [&] {
    if (!files_.run) return;
    files_.run->add_save(times);
    files_.run->set_best(selection_json(options_.selection, selection_));
    if (files_.publisher && is_pushed_) files_.publisher->offer(path);
    delete_old_checkpoints(options_.output_dir, path, options_.save_total_limit,
                           protected_checkpoints());
  });
}

std::vector<fs::path> RunSaves::protected_checkpoints() {
  std::vector<fs::path> paths;
  if (options_.selection.keep_best && selection_.best_metric)
    paths.push_back(checkpoint_path(options_.output_dir, selection_.best_step));
  if (files_.publisher) {
    if (const auto path = files_.publisher->in_flight()) paths.push_back(*path);
  }
  return paths;
}

}  // namespace hone::trainer
