// run.json: what was run, where, and how it ended.
#pragma once

#include <filesystem>
#include <optional>

#include "core/json.h"
#include "models/model.h"
#include "parallel/layout.h"
#include "trainer/checkpoint_save.h"
#include "trainer/options.h"
#include "trainer/rank_bytes.h"
#include "trainer/train.h"

namespace hone::trainer {

// Adds to a recipe's run_info what the trainer knows, and writes it at every change of the outcome:
// a reader always finds the last one.
class RunFile {
 public:
  // Outcome "running".
  RunFile(const std::filesystem::path& path, const core::Json& run_info, const models::Model& model,
          const RankBytes& bytes, const parallel::Layout& layout);
  void set_startup_seconds(double seconds);
  // Where rank 0's time went ("data", "forward", ...), how fast the steps were, and the most memory
  // so far, by rank: of these processes, so of the part of the run since its last start.
  void set_measurements(const core::Json& seconds, const core::Json& throughput,
                        const std::vector<int64_t>& peak_bytes);
  void add_save(const SaveTimes& times);
  // Of the checkpoint that the run goes on from: its bytes, and how long it took to verify and
  // load.
  void set_resume(int64_t num_bytes, double verify_seconds, double load_seconds);
  void set_best(const core::Json& best);      // of selection_json
  void set_pushes(const core::Json& pushes);  // of Publisher
  void finish(const TrainResult& result);     // "finished" or "stopped"
  void fail(
      int64_t step,
      const std::string& message);  // "failed"; never throws: the first error is the one to show

 private:
  void write() const;
  std::filesystem::path path_;
  core::Json json_;
};

}  // namespace hone::trainer
