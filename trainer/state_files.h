// The `state/` folder of a checkpoint: float32 masters, moments and counters.
// docs/checkpoint_format.md.
#pragma once

#include <filesystem>
#include <set>
#include <string>

#include "models/model.h"
#include "trainer/checkpoint.h"
#include "trainer/optimizer.h"

namespace hone::trainer {

inline constexpr const char* kStateFolder = "state";

// Writes state/ into `checkpoint`: moments of every trainable parameter in its own name and shape,
// masters of those not in `saved_exactly`, and trainer_state.json.
void write_state(const std::filesystem::path& checkpoint, const models::Model& model,
                 const OptimizerState& optimizer, const TrainerState& state,
                 const std::set<std::string>& saved_exactly);

// The reverse; weights without a master are read from the model files of `checkpoint`. Throws
// kBadInput for a tensor that is missing, of another shape or dtype, or not of this model, naming
// it.
TrainerState read_state(const std::filesystem::path& checkpoint, models::Model& model,
                        OptimizerState& optimizer);

}  // namespace hone::trainer
