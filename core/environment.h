// What a process finds around it: variables, the machine's name, the time.
#pragma once

#include <functional>
#include <string>

namespace hone::core {

// The value of an environment variable; empty when it is not set.
using ReadEnvironment = std::function<std::string(const char* name)>;

ReadEnvironment process_environment();  // this process's

std::string host_name();  // "?" where the system does not say

double seconds_since_1970();

}  // namespace hone::core
