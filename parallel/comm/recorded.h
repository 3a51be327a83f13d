// A communicator whose calls stand in a flight record.
#pragma once

#include <memory>
#include <string>

#include "parallel/comm/communicator.h"
#include "parallel/comm/flight_record.h"

namespace hone::parallel {

// Not collective. The communicator around `inner` that enters every call into `record` under the
// name `group`, from its start to where it is known to be done. Collectives are numbered from 1,
// sends and receives each on their own, so a number means the same on all ranks. The one for host
// memory is recorded too (where it is the same one, with the same numbers), communicators split
// from it are plain.
Communicator recorded(const Communicator& inner, std::shared_ptr<FlightRecord> record,
                      const std::string& group);

}  // namespace hone::parallel
