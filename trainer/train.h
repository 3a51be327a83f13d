// The training loop: from a loaded model and its data to a finished output folder.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "models/model.h"
#include "parallel/comm/mesh.h"
#include "trainer/options.h"
#include "trainer/publisher.h"
#include "trainer/samples.h"
#include "trainer/trace.h"

namespace hone::trainer {

struct TrainResult {
  int64_t step = 0;                // optimizer updates done
  bool stopped_by_signal = false;  // exit 75
  bool stopped_early = false;      // early_stopping_patience
  int64_t model_step = 0;          // of the model in the output folder: `step`, or the best one's
  std::optional<double> first_eval_loss, last_eval_loss;
  std::optional<double> model_eval_loss;  // of the model in the output folder
  double last_loss = 0;
};

// The same on every rank, but for the model's sharding, and what only rank 0 has a use for:
// publish, trace, on_moment.
struct TrainInputs {
  models::Model& model;
  parallel::Mesh* mesh = nullptr;  // not given: one rank
  const data::Loader& train_data;
  const data::Loader* eval_data = nullptr;  // unshuffled, one pass an evaluation
  // What metrics call each source of the data; used where there are several.
  std::vector<std::string> train_names, eval_names;
  // Files copied into checkpoints and the final folder: config.json, tokenizer files,
  // generation_config.json.
  std::filesystem::path model_folder;
  std::optional<std::filesystem::path>
      resume_from;                             // a checkpoint-N folder already chosen and verified
  double verify_seconds = 0;                   // that this took
  const data::Tokenizer* tokenizer = nullptr;  // for sample_prompts only
  std::vector<SamplePrompt> sample_prompts;    // none: no samples.jsonl
  std::vector<int64_t> eos_token_ids;          // of samples
  Publish publish = {};                        // hub_strategy: every_save
  Trace* trace = nullptr;                      // hone train --profile
  std::function<void(double seconds)> on_first_step = {};  // of this process; may be collective
  std::function<void(RunMoment)> on_moment = {};           // must not throw
};

// Runs max_steps updates. Collective over the mesh; the result is the same on every rank. Throws
// kNumerical (nothing poisoned is saved), kIo, on every rank at once.
TrainResult train(const TrainInputs& inputs, const TrainOptions& options);

}  // namespace hone::trainer
