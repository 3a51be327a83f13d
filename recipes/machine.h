// What a run's numbers may depend on beside its recipe: the processor.
#pragma once

#include <string>

namespace hone::recipes {

// "AMD EPYC 9B14", as /proc/cpuinfo says; "" where it says nothing.
std::string cpu_model();

}  // namespace hone::recipes
