// What every communicator must do, whatever its backend: cases that run on all ranks at once and
// throw std::runtime_error on a rank where something is wrong.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "parallel/comm/communicator.h"

namespace hone::test {

struct ConformanceCase {
  std::string name;
  std::function<void(parallel::Communicator&)> run;
};

std::vector<ConformanceCase> conformance_cases();

}  // namespace hone::test
