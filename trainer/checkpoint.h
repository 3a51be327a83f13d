// Checkpoints: a hub folder plus `state/` and a manifest, published by one rename.
// docs/checkpoint_format.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/model.h"
#include "trainer/manifest.h"
#include "trainer/optimizer.h"
#include "trainer/selection.h"
#include "trainer/source_loss.h"

namespace hone::trainer {

// Everything of a run that is neither weights nor moments. The data order needs no more than
// `step`.
struct TrainerState {
  int64_t step = 0;         // optimizer updates done
  int64_t num_tokens = 0;   // real tokens fed since the start of the run
  double loss_sum = 0;      // of the trained tokens since the last scheduled row of metrics.jsonl
  int64_t loss_tokens = 0;  // how many these are
  SourceLosses by_source;   // the same for each of several datasets
  int64_t horizon = 0;      // of the learning rate schedule
  std::optional<double> first_eval_loss;
  SelectionState selection;
};

struct CheckpointSource {
  const models::Model& model;
  const OptimizerState& optimizer;
  const TrainerState& state;
  std::filesystem::path model_folder;  // config and tokenizer files are copied from here
  std::string save_dtype;
  core::Json identity;
};

std::filesystem::path checkpoint_path(const std::filesystem::path& output_dir, int64_t step);

// Writes output_dir/checkpoint-<step>: all files into a temporary folder, each synced, the manifest
// last, then one rename. An older folder of that name is replaced. Throws kNumerical when a weight
// or moment is not finite, kIo or kCannotCreate; then the temporary folder is removed and every
// older checkpoint is as it was. Returns the folder. Of one rank and at once; CheckpointSave
// (trainer/checkpoint_save.h) does the same for many ranks, beside the training.
std::filesystem::path save_checkpoint(const std::filesystem::path& output_dir,
                                      const CheckpointSource& source);

// Reads and checks every byte against the manifest. Throws kMissingInput or kBadInput saying what
// is wrong.
Manifest verify_checkpoint(const std::filesystem::path& checkpoint);

// The newest checkpoint-N of output_dir that verifies, or nullopt. Each damaged one is logged with
// the reason, put into `damaged` if that is given, and skipped.
std::optional<std::filesystem::path> find_resumable(const std::filesystem::path& output_dir,
                                                    std::vector<std::string>* damaged = nullptr);

// Puts weights and moments into a model built as the run was (same base, same adapter), whatever
// the layout it was saved with: what this rank keeps of them. Throws kBadInput when names or shapes
// differ.
TrainerState load_checkpoint(const std::filesystem::path& checkpoint, models::Model& model,
                             OptimizerState& optimizer);

// checkpoint-N folders of output_dir, by step.
std::vector<std::pair<int64_t, std::filesystem::path>> list_checkpoints(
    const std::filesystem::path& output_dir);

// Keeps the `limit` newest (0: all). `newest` has just been written: it is verified before anything
// is deleted, and is never deleted itself; nor are those of `protected_paths`, which count among
// the limit. Checkpoints past `newest` are left from an abandoned continuation and go first.
void delete_old_checkpoints(const std::filesystem::path& output_dir,
                            const std::filesystem::path& newest, int64_t limit,
                            const std::vector<std::filesystem::path>& protected_paths = {});

// Removes what an interrupted save left: checkpoint-*.tmp folders and temporary files in the root
// of output_dir.
void remove_stale_temporaries(const std::filesystem::path& output_dir);

}  // namespace hone::trainer
