// The checkpoints of a run: one at a time is written, beside the training.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "trainer/checkpoint_save.h"
#include "trainer/progress.h"
#include "trainer/run_files.h"
#include "trainer/timeline.h"

namespace hone::trainer {

// All calls but wait_until_read are collective over the mesh.
class RunSaves {
 public:
  // `on_saved` is called on every rank once a checkpoint is there. What is referred to outlives
  // this object.
  RunSaves(const TrainInputs& inputs, const TrainOptions& options, parallel::Mesh& mesh,
           RunFiles& files, Progress& progress, Timeline& timeline, std::function<void()> on_saved);

  // Begins a save, after the one before is done. `is_pushed`: where checkpoints are pushed.
  void start(const OptimizerState& optimizer, const TrainerState& state, bool is_pushed);
  void advance();          // called after each step; tells of a failed save
  void finish();           // until there is nothing under way
  void wait_until_read();  // before weights and moments change
  void keep_under_way();   // when the run fails: what can be kept is
  bool under_way() const { return save_.has_value(); }

 private:
  bool advance_save();
  void end_save();
  std::vector<std::filesystem::path> protected_checkpoints();

  const TrainInputs& inputs_;
  const TrainOptions& options_;
  parallel::Mesh& mesh_;
  RunFiles& files_;
  Progress& progress_;
  Timeline& timeline_;
  const std::function<void()> on_saved_;
  std::optional<CheckpointSave> save_;
  SelectionState selection_;  // as it is in the checkpoint
  bool is_pushed_ = false;
};

}  // namespace hone::trainer
