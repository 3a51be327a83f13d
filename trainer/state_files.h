// The `state/` folder of a checkpoint: float32 masters, moments and counters.
// docs/checkpoint_format.md.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "models/model.h"
#include "trainer/checkpoint.h"
#include "trainer/optimizer.h"
#include "trainer/tensor_files.h"

namespace hone::trainer {

inline constexpr const char* kStateFolder = "state";

// The tensors of state/: moments of every trainable parameter in its own name and shape, and
// masters of those not in `saved_exactly`. Refers to model and optimizer.
std::vector<TensorFile> plan_state_files(const models::Model& model,
                                         const OptimizerState& optimizer,
                                         const std::set<std::string>& saved_exactly);

// state/trainer_state.json, by one rank.
void write_trainer_state(const std::filesystem::path& checkpoint, const TrainerState& state,
                         int64_t num_updates);

// The reverse, of what this rank keeps; weights without a master are read from the model files of
// `checkpoint`. Other ranks' parts are to be shared afterwards (trainer/gather.h). Throws kBadInput
// for a tensor that is missing, of another shape or dtype, or not of this model, naming it.
TrainerState read_state(const std::filesystem::path& checkpoint, models::Model& model,
                        OptimizerState& optimizer);

}  // namespace hone::trainer
