// How tests start ranks as processes.
#pragma once

#include <string>
#include <vector>

#include "tests/support/process.h"

namespace hone::test {

// The words before "-np": a run bounded in time, where a hang is exit code 124, of ranks that may
// be more than the cores and reach each other on this machine alone.
inline std::vector<std::string> mpirun_words(int seconds) {
  return {"timeout",
          "-k",
          "5",
          std::to_string(seconds),
          "mpirun",
          "--oversubscribe",
          "--bind-to",
          "none",
          "--mca",
          "btl",
          "self,vader",
          "--mca",
          "oob_tcp_if_include",
          "lo",
          "--mca",
          "mpi_yield_when_idle",
          "1"};
}

// How often `word` stands in what the ranks printed.
inline size_t times(const std::string& text, const std::string& word) {
  size_t n = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

inline Environment mpirun_environment() {
  return {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
          {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
          // Open MPI itself keeps memory at its end.
          {"ASAN_OPTIONS", "detect_leaks=0"}};
}

}  // namespace hone::test
