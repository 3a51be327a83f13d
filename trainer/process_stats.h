// What the system knows of this process.
#pragma once

#include <cstdint>

namespace hone::trainer {

// Seconds since this process was started by the system, from /proc; 0 where that can't be read.
double seconds_since_process_start();

int64_t peak_resident_bytes();  // the most memory it ever held
int64_t resident_bytes();       // now; 0 where /proc can't be read

}  // namespace hone::trainer
