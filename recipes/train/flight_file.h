// The flight record of a rank as a file of its run.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "parallel/liveness/message.h"

namespace hone::recipes {

struct FlightFile {
  int rank = 0;
  std::string reason;                  // why it is written
  std::vector<parallel::Loss> losses;  // ranks that this one has lost
};

std::filesystem::path flight_path(const std::filesystem::path& output_dir, int rank);

// output_dir/flight-record/rank-N.json: rank, host, process, reason, lost ranks as they were last
// heard of, and the last actions and calls, the oldest first. Throws kIo, kCannotCreate.
void write_flight_file(const std::filesystem::path& output_dir, const FlightFile& file,
                       const parallel::FlightRecord& record);

// "rank 2 on node07 was killed, or its machine is gone: its last action was ..." on one line.
std::string loss_text(const parallel::Loss& loss, const std::string& host);

}  // namespace hone::recipes
