// The ranks of a run watch each other: one that is lost is named by all others, which then end.
#pragma once

#include <functional>
#include <memory>

#include "parallel/comm/communicator.h"
#include "parallel/comm/flight_record.h"
#include "recipes/recipe.h"

namespace hone::recipes {

// What a watched run works with. `record` is null for one rank alone, which has nobody to watch.
struct WatchedRanks {
  parallel::Communicator world;  // whose calls are recorded
  std::shared_ptr<parallel::FlightRecord> record;
};

// Collective. `work` with the ranks of `world` watching each other (parallel/liveness/heartbeat.h)
// as the recipe's comm_ keys say. A rank that loses another prints one report with its FATAL line,
// writes its flight record into the output folder and ends the process with 76, or with the code of
// the rank that failed. An error of this rank that the others do not know of is told to them, and
// its flight record is written. Throws kBadRecipe for an interface or a port that can't be had, and
// kPeerLost for ranks that do not answer there, on all ranks; and what `work` throws.
int watch_ranks(parallel::Communicator& world, const Recipe& recipe,
                const std::function<int(WatchedRanks& ranks)>& work);

}  // namespace hone::recipes
