// Everything the trainer needs to know, as plain values. recipes/ fills it; nothing here knows
// about YAML.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/json.h"
#include "trainer/selection.h"

namespace hone::trainer {

enum class ScheduleType { kLinear, kCosine, kConstant, kWsd };

struct ScheduleOptions {
  ScheduleType type = ScheduleType::kLinear;
  double learning_rate = 5e-5;
  int64_t warmup_steps = 0;
  double warmup_ratio = 0.0;     // of the horizon, rounded up; used when warmup_steps is 0
  int64_t scheduler_steps = 0;   // horizon; 0: max_steps
  double wsd_decay_ratio = 0.1;  // last part of the horizon that decays linearly to zero
};

struct OptimizerOptions {
  double adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8, weight_decay = 0.0;
  double max_grad_norm = 1.0;  // 0: no clipping
  // Whether weight decay also pulls on biases and norm weights; the Hugging Face Trainer leaves
  // them alone.
  bool decay_one_dimensional = false;
};

// When the files of the output folder have something new to show.
enum class RunMoment {
  kStarted,    // run.json is written, metrics.jsonl holds what a resumed run goes on from
  kRow,        // a row of training was added
  kEvaluated,  // so was what an evaluation gave
  kSampled,    // so were rows of samples.jsonl
  kEnded,      // run.json says how
};

struct SampleOptions {
  int64_t steps = 0;  // 0: only before the first step and after the last
  int64_t max_new_tokens = 128;
};

// Which steps of a traced run get a slice for every action: counted from the first step of this
// process, after a warm-up.
struct ProfileOptions {
  int64_t first_step = 2;
  int64_t num_steps = 5;
};

struct TrainOptions {
  int64_t max_steps = 0;  // resolved from num_train_epochs when the recipe gives no max_steps
  uint64_t seed = 42;
  bool gradient_checkpointing = false;
  int64_t micro_batch_tokens = 0;  // that a micro-batch may have; 0: not known
  bool ledger = false;             // ledger.jsonl: the samples of every micro-batch
  bool strict = false;             // the same bits on 1, 2, 4, ... data-parallel ranks
  bool overlap_reduce = false;     // gradients are reduced beside the backward of other stages
  std::string save_dtype;          // "": the input's dtype
  int64_t logging_steps = 10;
  int64_t eval_steps = 0;  // 0: only at step 0 and at the end
  int64_t save_steps = 0;  // 0: only at the end
  int64_t save_total_limit = 0;
  std::filesystem::path output_dir;
  ScheduleOptions schedule;
  OptimizerOptions optimizer;
  SampleOptions samples;
  SelectionOptions selection;
  ProfileOptions profile;
  double gemm_rate = 0;  // of measure_gemm_rate (trainer/throughput.h); 0: not known
  // What identifies the run, compared on resume: keys (objects may nest) to plain values, e.g.
  // {"model": sha, "data": key, "adapter": {...}}. Any difference is refused, but for the keys of
  // is_harmless_key (trainer/identity.h).
  core::Json identity;
  // Written to run.json as it is; the trainer adds layout, memory, times, throughput and the
  // outcome.
  core::Json run_info;
};

}  // namespace hone::trainer
