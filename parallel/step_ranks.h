// The lists of all ranks of a step beside each other: whether they get to the end together, and how
// long each waits for the others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/message_queues.h"
#include "parallel/schedule.h"

namespace hone::parallel {

bool is_collective(const Action& action);
bool is_send(const Action& action);

// Where the collectives of ranks that call all of them together differ, one line for each rank that
// differs from the first: such a step would hang. Empty when they are equal. `numbers` are what
// the ranks are called, without them 0, 1, ...
std::vector<std::string> collective_problems(const std::vector<std::vector<Action>>& ranks,
                                             const std::vector<StageDescriptor>& stages,
                                             const std::vector<int64_t>& numbers = {});

// Everything that keeps the ranks of a run from finishing the step together, a line each with rank
// and action: collectives that differ among ranks of the same place in the pipeline, lists that
// differ among ranks that compute the same, messages that are not those expected or that nobody
// waits for, ranks that wait forever. Found by running all lists at once, with messages received
// where they are needed and every collective waiting for all its ranks. `paths` carry the messages:
// where they run in order, the update waits for what is sent. Empty when it is sound.
std::vector<std::string> rank_problems(const std::vector<std::vector<Action>>& ranks,
                                       const std::vector<StageDescriptor>& stages,
                                       const Layout& layout, const Pipeline& pipeline,
                                       MessagePaths paths = MessagePaths::kBuffered);

// The share of a step's time that the ranks of a pipeline wait for each other, where `costs` are
// the stages' times for a micro-batch, forward (a third) and backward; recomputing costs another
// forward. Collectives, messages and the update cost nothing.
double bubble_share(const std::vector<StageDescriptor>& stages, const std::vector<double>& costs,
                    const Pipeline& pipeline, int64_t num_rounds, bool recompute);

}  // namespace hone::parallel
