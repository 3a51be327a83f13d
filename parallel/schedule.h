// A training step as a value: the list of actions one rank performs, built without LibTorch from
// the layout and plain stage descriptors. The trainer executes this list and the dry run checks the
// same one, so it proves the real thing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/layout.h"
#include "parallel/pipeline.h"

namespace hone::parallel {

// One stage (embedding, a block, the head) as far as the order of a step depends on it. The byte
// figures are for one micro-batch and may stay 0 where only the order is wanted.
struct StageDescriptor {
  std::string name;             // "embed", "layers.0", "head"
  int64_t num_trainable = 0;    // elements; a stage below the first trainable one gets no backward
  int64_t parameter_bytes = 0;  // held by this rank between steps
  int64_t output_bytes = 0;     // activation handed to the next stage
  int64_t graph_bytes = 0;  // kept inside the stage for its backward, output excluded; of the head:
                            // all that there is at a time beside the input and its gradient
  // What is there at a time in an action besides what it starts from and leaves behind.
  int64_t forward_work_bytes = 0;  // of a forward that keeps no graph
  int64_t graph_work_bytes = 0;    // of one that does
  int64_t backward_work_bytes = 0;
  // Another stage whose parameters and gradients this one works with too; -1: none. A tied head
  // names the embedding.
  int64_t shares_with = -1;
  bool backward_reads_parameters = true;  // false for a plain embedding
  // Its parameters are sharded: the whole of them is there only from kGather to kFree.
  bool is_gathered = false;
};

enum class ActionKind {
  kForward,  // run the stage on the kept output of the one before
  kLoss,  // last stage: loss and the gradient of its input, its weight gradients added, in one go
  kRecompute,  // run the forward again from the kept input, to have its graph
  kBackward,  // gradient of the output in, of the input out, weight gradients added; frees what was
              // kept
  kGather,    // collective: start to put the stage's parameters together from their shards
  kFree,      // the stage's parameters go back to this rank's shard
  kReduce,    // collective, the stage's gradient: with a micro-batch, add up what the ranks have of
              // that round and start afresh; without one, it is complete for this step
  kUpdate,    // collective: clip and apply the optimizer to every stage
  // Between neighbours of the pipeline axis, matched in order for each pair and kind. Receives are
  // only started here, and waited for by the forward or backward that needs what comes; a send
  // never waits.
  kSendOutput,       // the stage's output
  kReceiveInput,     // the output of the stage below
  kSendGradient,     // the gradient of the stage's input
  kReceiveGradient,  // the gradient of the stage's output
};

// What a forward leaves behind for the backward.
enum class Keep {
  kNothing,  // no backward will come
  kInput,    // the input only: a kRecompute comes before the backward
  kGraph,    // input and graph
};

struct Action {
  ActionKind kind = ActionKind::kForward;
  int64_t stage = -1;  // -1: all stages (kUpdate)
  // Of the step, over all ranks; -1: the step as a whole (kReduce, kUpdate). Collectives name the
  // first micro-batch of the round, so that they are equal on all ranks.
  int64_t micro_batch = -1;
  Keep keep = Keep::kNothing;
  int64_t peer = -1;  // of a send or receive: the other's rank on the pipeline axis
  bool operator==(const Action&) const = default;
};

struct StepOptions {
  int64_t num_micro_batches = 1;  // of the step, over all ranks
  bool recompute = false;         // gradient_checkpointing
  int64_t shard_level = 3;        // with dp_shard above 1: what is sharded, as in shards.h
  bool strict = false;            // gradients are added up in one order, whatever the layout
  bool overlap_reduce = false;    // a stage's gradient is reduced while others are computed
  Pipeline pipeline = {};         // without stages: all on every rank
};

// Micro-batches of a step are dealt out in rounds: data-parallel rank d of D computes d, D + d, 2 D
// + d ... In a round's sum of gradients micro-batches are neighbours then, and a tree over rounds
// of such sums is the tree over all micro-batches (comm/combine.h): that makes `strict` and sharded
// gradients one thing, and an epoch's last, smaller step is spread evenly.
int64_t num_rounds(int64_t num_micro_batches, int64_t data_parallel_size);
// The place of a rank among those that get different micro-batches.
int64_t data_parallel_rank(const Layout& layout, int64_t rank);
// Of this rank, in the order it computes them.
std::vector<int64_t> micro_batches_of(const Layout& layout, int64_t rank,
                                      int64_t num_micro_batches);

// Whether gradients are summed over ranks after every round, or once a step: sharded gradients have
// no room for a rank's own sum, and `strict` has an order of its own.
bool reduces_every_round(const Layout& layout, const StepOptions& options);

// Which stages a rank of the pipeline axis has parameters of: those it computes, and those that
// these share with (the embedding of a tied head).
std::vector<bool> held_stages(const std::vector<StageDescriptor>& stages, const Pipeline& pipeline,
                              int64_t pipeline_rank);
// How many ranks of the pipeline axis hold the stage.
int64_t num_holders(const std::vector<StageDescriptor>& stages, const Pipeline& pipeline,
                    int64_t stage);

// The actions of one step of a rank. Without a pipeline micro-batches run one after the other, so
// one micro-batch's activations are live at a time; with one they follow pipeline_order.h. With
// recompute every stage is run again but those that need no graph to speak of (stage 0) and the one
// whose backward follows its forward at once (the last before the head). Sharded parameters are
// gathered one use ahead of their use, and freed when the next two uses do without; receives are
// started one event of the pipeline ahead. A rank without a micro-batch in a round takes part in
// its collectives, and neither computes nor sends nor receives. A stage that two ranks of the
// pipeline hold is completed by both at the end of the step. Every list is checked (step_problems)
// before it is given out. Throws kInternal for a layout, pipeline, number of stages (at least 2) or
// number of micro-batches it can't schedule.
std::vector<Action> make_step(const std::vector<StageDescriptor>& stages, const Layout& layout,
                              int64_t rank, const StepOptions& options);

// Index of the first stage with trainable parameters; the number of stages when there is none.
int64_t first_trainable_stage(const std::vector<StageDescriptor>& stages);

// Everything that makes a list no valid step: an action without its input or parameters, a backward
// without a graph, a stage whose gradient is not complete or reduced before the update, activations
// never freed, never sent, parameters left gathered. Empty when it is sound. What only shows beside
// other ranks' lists: parallel/step_ranks.h.
std::vector<std::string> step_problems(const std::vector<Action>& actions,
                                       const std::vector<StageDescriptor>& stages,
                                       const Pipeline& pipeline = {}, int64_t pipeline_rank = 0);

// By action, the sum of activation bytes (kept inputs, graphs, running outputs and gradients, what
// was received, what the action works with) that are live in it; `batch_bytes` are those of a
// micro-batch itself.
std::vector<int64_t> live_activation_bytes(const std::vector<Action>& actions,
                                           const std::vector<StageDescriptor>& stages,
                                           const Pipeline& pipeline = {}, int64_t pipeline_rank = 0,
                                           int64_t batch_bytes = 0);

// The largest of these.
int64_t peak_activation_bytes(const std::vector<Action>& actions,
                              const std::vector<StageDescriptor>& stages,
                              const Pipeline& pipeline = {}, int64_t pipeline_rank = 0,
                              int64_t batch_bytes = 0);

// "backward layers.3 of micro-batch 2".
std::string describe_action(const Action& action, const std::vector<StageDescriptor>& stages);

}  // namespace hone::parallel
