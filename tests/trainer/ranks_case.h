// A few steps of a tiny model on the ranks of a communicator, and what came of them: the same
// function under threads and under mpirun.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/comm/communicator.h"
#include "parallel/layout.h"

namespace hone::trainer {

// Of updates after three steps, relative norm per tensor: the most seen is 5e-6. Two float32
// attention kernels on one rank (HONE_ISA=portable and avx512) are 7e-6 apart, held to this bound
// too by RanksMpi.BoundIsThatOfTwoAttentionKernels.
inline constexpr double kUpdateBound = 3e-5;

// Layers, tokens or stages that are split over ranks: sums of other lengths. AdamW divides by the
// gradient's own size, so an element whose terms cancel moves by their rounding; its gradient shows
// what was computed.
inline constexpr double kSplitUpdateBound = 1e-3, kGradientBound = 1e-5;

struct RanksCase {
  parallel::Layout layout;
  int64_t level = 3;
  bool lora = false;
  int64_t rounds = 1;  // micro-batches of a step are rounds x max_ranks, whatever the layout
  bool strict = false, recompute = false, overlap = false;
  bool bfloat16 = false;
  std::string model = "tiny-chat";  // of tests/golden; its embedding is its head too; or "made/X"
  int64_t chunks = 1;               // of the pipeline axis, a rank
  int64_t row_chunks = 1;           // of products that are split over the tensor axis
  int64_t head_chunks = 1;          // of attention that is split over the context axis
  bool lora_everywhere = false;     // on embedding and head besides the linear layers

  // Micro-batches of a step are as many of these as there are rounds.
  static constexpr int64_t kMaxRanks = 4;
  bool is_split() const { return layout.tp * layout.cp * layout.pp > 1; }
  double update_bound() const { return is_split() ? kSplitUpdateBound : kUpdateBound; }
  RanksCase on_one_rank() const;
  std::string name() const;  // "replicate2_shard2_level3_lora_rounds3_strict"
};

struct RanksOutcome {
  std::vector<double> losses, norms;  // by step
  std::vector<int64_t> tokens;        // by step
  // By tensor: at the end, from the start on, and the first step's.
  std::vector<std::vector<float>> weights, updates, gradients;
  int64_t kept_bytes = 0;  // of rank 0: parameters, gradients and moments
};

// Steps whose micro-batches have ragged numbers of trained tokens, one none; the last step has a
// micro-batch less. Collective; every rank has the whole outcome.
RanksOutcome run_ranks_case(parallel::Communicator& world, const RanksCase& wanted);

// The largest, over tensors, of |a - b| / |b|.
double largest_difference(const std::vector<std::vector<float>>& a,
                          const std::vector<std::vector<float>>& b);

std::string to_text(const RanksOutcome& outcome);  // bit for bit
RanksOutcome outcome_from(const std::string& text);

std::vector<RanksCase> all_ranks_cases();
const RanksCase* find_ranks_case(const std::vector<RanksCase>& cases, const std::string& name);

}  // namespace hone::trainer
