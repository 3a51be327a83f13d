// The files of a run, which are rank 0's.
#pragma once

#include <optional>

#include "parallel/comm/mesh.h"
#include "trainer/checkpoint.h"
#include "trainer/jsonl_file.h"
#include "trainer/metrics.h"
#include "trainer/publisher.h"
#include "trainer/rank_bytes.h"
#include "trainer/run_file.h"
#include "trainer/samples.h"
#include "trainer/train.h"

namespace hone::trainer {

// Empty on other ranks.
struct RunFiles {
  std::optional<MetricsFile> metrics;  // metrics.jsonl
  std::optional<RunFile> run;          // run.json
  std::optional<Samples> samples;      // samples.jsonl, where there are prompts
  std::optional<JsonlFile> ledger;     // ledger.jsonl, where it is asked for
  std::optional<Publisher> publisher;  // where checkpoints are pushed
};

// Into `files`, none of which is open: new ones, or those of a run that goes on from `state`.
// Throws kIo, kCannotCreate.
void open_run_files(const TrainInputs& inputs, const TrainOptions& options,
                    const TrainerState& state, const RankBytes& bytes,
                    const parallel::Layout& layout, RunFiles& files);

// What the files hold of `step` already, which decides what is still to do there.
struct RowsOfStep {
  core::Json eval_row;  // null: none
  bool has_samples = false;
};
// Collective: what rank 0 has found.
RowsOfStep rows_of_step(const RunFiles& files, int64_t step, parallel::Mesh& mesh);

}  // namespace hone::trainer
