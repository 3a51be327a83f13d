// What a run may depend on beside its recipe: processor and memory.
#pragma once

#include <cstdint>
#include <string>

namespace hone::recipes {

// "AMD EPYC 9B14", as /proc/cpuinfo says; "" where it says nothing.
std::string cpu_model();

// Of memory that the programs of this machine, or of this container where it has a limit, have
// together; 0 where nothing says so.
int64_t memory_bytes();

}  // namespace hone::recipes
