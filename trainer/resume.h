// Where a run starts: at step 0, or as its checkpoint was.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "trainer/checkpoint.h"
#include "trainer/jsonl_file.h"
#include "trainer/metrics.h"
#include "trainer/options.h"
#include "trainer/train.h"

namespace hone::trainer {

inline bool is_due(int64_t step, int64_t every) { return every > 0 && step % every == 0; }

// Loads the checkpoint, if there is one, into model and optimizer. Nothing is written: an identity
// error leaves the output folder as it was. Throws as check_identity and load_checkpoint do.
TrainerState start_state(const TrainInputs& inputs, const TrainOptions& options,
                         OptimizerState& optimizer, int64_t horizon);

// The same on all ranks of the mesh, and what they share afterwards (trainer/gather.h). Collective;
// an error of one is thrown by all. `load_seconds`: how long it took.
TrainerState start_together(const TrainInputs& inputs, const TrainOptions& options,
                            parallel::Mesh& mesh, OptimizerState& optimizer, int64_t horizon,
                            double& load_seconds);

// Which rows of metrics.jsonl and samples.jsonl stay. Rows of the checkpoint's own step that came
// only because the run ended there are not rows of a run that goes on.
std::optional<ResumePoint> resume_point(const TrainInputs& inputs, const TrainOptions& options,
                                        const TrainerState& state);
JsonlFile::Keep samples_to_keep(const TrainInputs& inputs, const TrainOptions& options,
                                const TrainerState& state);

// In the output folder, or beside the checkpoint the run was resumed from.
std::filesystem::path checkpoint_of_step(const TrainInputs& inputs, const TrainOptions& options,
                                         int64_t step);

}  // namespace hone::trainer
