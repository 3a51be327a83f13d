// What a process finds around it: variables, and the machine's name.
#pragma once

#include <functional>
#include <string>

namespace hone::core {

// The value of an environment variable; empty when it is not set.
using ReadEnvironment = std::function<std::string(const char* name)>;

ReadEnvironment process_environment();  // this process's

std::string host_name();  // "?" where the system does not say

}  // namespace hone::core
