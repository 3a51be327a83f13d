// metrics.jsonl: one JSON object a line, appended while the run goes on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "trainer/jsonl_file.h"

namespace hone::trainer {

// With the other ranks of one axis of the layout.
struct AxisCommunication {
  std::string axis;  // as a recipe names it
  int64_t num_bytes = 0;
  double exposed_seconds = 0;
};

// With other ranks, as this rank saw it.
struct Communication {
  int64_t num_bytes = 0;                // sent
  double exposed_seconds = 0;           // waited: what computing did not hide
  std::vector<AxisCommunication> axes;  // of more than one rank; beside steps also what
                                        // evaluations, samples and saves needed
};

struct TrainRow {
  int64_t step = 0;
  double loss = 0;  // mean over the trained tokens since the row before
  double learning_rate = 0;
  double grad_norm = 0;
  int64_t num_tokens = 0;  // fed since the start of the run, no padding
  double tokens_per_second = 0;
  double flops_share = 0;  // of the measured rate of matrix products; trainer/throughput.h
  core::Json datasets;     // losses_json of several datasets; null for one
  std::optional<Communication> communication;  // since the row before; of a run on several ranks
};

// Numbers are written with as many digits as it takes to read the same double back.
std::string train_row_json(const TrainRow& row);
std::string eval_row_json(int64_t step, double eval_loss, const core::Json& datasets = {});

// Which rows of an earlier part of the run stay when it goes on from a checkpoint.
struct ResumePoint {
  int64_t step = 0;
  bool keep_train_row =
      false;  // rows of the checkpoint's own step: only those an uninterrupted run has too
  bool keep_eval_row = false;
};

class MetricsFile {
 public:
  // Starts a new file, or goes on with what is there: rows past `resume` and a torn last line are
  // dropped, atomically.
  explicit MetricsFile(const std::filesystem::path& path,
                       const std::optional<ResumePoint>& resume = {});

  void append(const std::string& row_json);        // throws kIo
  void sync();                                     // before a checkpoint that counts on the rows
  const core::Json* eval_row(int64_t step) const;  // among the kept rows; nullptr if there is none

 private:
  std::vector<core::Json> eval_rows_;  // kept ones
  JsonlFile file_;
};

}  // namespace hone::trainer
