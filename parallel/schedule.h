// A training step as a value: the list of actions one rank performs, built without LibTorch from
// the layout and plain stage descriptors. The trainer executes this list and the dry run checks the
// same one, so it proves the real thing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/layout.h"

namespace hone::parallel {

// One stage (embedding, a block, the head) as far as the order of a step depends on it. The byte
// figures are for one micro-batch and may stay 0 where only the order is wanted.
struct StageDescriptor {
  std::string name;             // "embed", "layers.0", "head"
  int64_t num_trainable = 0;    // elements; a stage below the first trainable one gets no backward
  int64_t parameter_bytes = 0;  // held by this rank between steps
  int64_t output_bytes = 0;     // activation handed to the next stage
  int64_t graph_bytes =
      0;  // what autograd keeps inside the stage for its backward, output excluded
};

enum class ActionKind {
  kForward,  // run the stage on the kept output of the one before
  kLoss,  // last stage: loss and the gradient of its input, its weight gradients added, in one go
  kRecompute,  // run the forward again from the kept input, to have its graph
  kBackward,  // gradient of the output in, of the input out, weight gradients added; frees what was
              // kept
  kReduce,  // the stage's gradient is complete for this step: make it the global one (no data moves
            // on one rank)
  kUpdate,  // clip and apply the optimizer to every stage
};

// What a forward leaves behind for the backward.
enum class Keep {
  kNothing,  // no backward will come
  kInput,    // the input only: a kRecompute comes before the backward
  kGraph,    // input and graph
};

// Later kinds (gather, free, send, receive) join ActionKind; `peer` is for those that name another
// rank.
struct Action {
  ActionKind kind = ActionKind::kForward;
  int64_t stage = -1;        // -1: all stages (kUpdate)
  int64_t micro_batch = -1;  // -1: the step as a whole (kReduce, kUpdate)
  Keep keep = Keep::kNothing;
  int64_t peer = -1;
  bool operator==(const Action&) const = default;
};

struct StepOptions {
  int64_t num_micro_batches = 1;
  bool recompute = false;  // gradient_checkpointing
};

// The actions of one step of a rank. Micro-batches run one after the other, so one micro-batch's
// activations are live at a time. With recompute every stage is run again but those that need no
// graph to speak of (stage 0) and the one whose backward follows its forward at once (the last
// before the head). Throws kInternal for a layout, number of stages (at least 2) or number of
// micro-batches it can't schedule.
std::vector<Action> make_step(const std::vector<StageDescriptor>& stages, const Layout& layout,
                              int64_t rank, const StepOptions& options);

// Index of the first stage with trainable parameters; the number of stages when there is none.
int64_t first_trainable_stage(const std::vector<StageDescriptor>& stages);

// Everything that makes a list no valid step: an action without its input, a backward without a
// graph, a stage whose gradient is not complete or reduced before the update, activations never
// freed. Empty when it is sound.
std::vector<std::string> step_problems(const std::vector<Action>& actions,
                                       const std::vector<StageDescriptor>& stages);

// The largest sum of activation bytes (kept inputs, graphs, the running output and gradient) live
// at any action.
int64_t peak_activation_bytes(const std::vector<Action>& actions,
                              const std::vector<StageDescriptor>& stages);

// "backward layers.3 of micro-batch 2".
std::string describe_action(const Action& action, const std::vector<StageDescriptor>& stages);

}  // namespace hone::parallel
